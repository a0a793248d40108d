# tries: have variables of the request do something before or beside the sandbox: preloading, start-up files, search paths, Kaa's own names
# strict: they are only variables of the code
# basic: they are only variables of the code
# end: ok HELD
# envs: {"LD_PRELOAD": "/work/evil.so", "LD_AUDIT": "/work/evil.so", "LD_LIBRARY_PATH": "/work", "PYTHONSTARTUP": "/work/evil.py", "PYTHONPATH": "/work", "PYTHONHOME": "/work", "PYTHONINSPECT": "1", "PYTHONBREAKPOINT": "os.system", "BASH_ENV": "/work/evil.sh", "ENV": "/work/evil.sh", "PATH": "/work:/usr/bin:/bin", "TMPDIR": "/", "HOME": "/root", "KAA_SANDBOX": "none", "KAA_TEST_SECRET": "x", "KAA_REDIS_URL": "redis://elsewhere", "MALLOC_CHECK_": "3", "GCONV_PATH": "/work", "KAA_LEVEL": "none"}

status = status_of("self")
if status["NoNewPrivs"] != "1":
    escaped("no_new_privs is off")
if status["Seccomp"] != "2":
    escaped("no seccomp filter")
if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
    escaped("capabilities")
arrives("unshare", 0x20000)
works("read outside", read, outside("file"))
writable("/usr")
finish()
