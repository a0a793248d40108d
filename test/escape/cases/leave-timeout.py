# tries: leave a process behind when the execution is interrupted: setsid nohup sleep with the inherited streams
# strict: interrupted in time, and nothing left
# basic: interrupted in time, and nothing left
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

subprocess.Popen("setsid nohup sh -c 'printf kaa-left > /proc/self/comm; sleep 45.14' &", shell=True)
time.sleep(60)
