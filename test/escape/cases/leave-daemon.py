# tries: leave a process behind: a double fork, a new session, hang-ups ignored, with the inherited streams
# strict: ends with the sandbox; the answer does not wait for it
# basic: ends with the execution; the answer does not wait for it
# end: ok HELD
# timeout: 10
# unsandboxed: held because the test looks for what is left, at every level

subprocess.Popen("setsid nohup sh -c 'printf kaa-left > /proc/self/comm; sleep 45.11' &", shell=True)
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork() == 0:
        libc.prctl(15, b"kaa-left", 0, 0, 0)
        while staying():
            time.sleep(1)
    os._exit(0)
time.sleep(0.1)
finish()
