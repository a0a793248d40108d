# tries: end by SIGKILL and have it look like success
# strict: status exit with 137
# basic: status exit with 137
# end: exit
# unsandboxed: held because a death by a signal shows at every level

print("HELD", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
