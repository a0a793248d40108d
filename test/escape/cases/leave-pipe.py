# tries: delay the answer by a child that keeps the output open and goes on writing
# strict: the answer comes when the code has ended
# basic: the answer comes when the code has ended
# end: ok HELD
# timeout: 5
# unsandboxed: held because the answer does not wait at any level

if os.fork() == 0:
    os.setsid()
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.write(2, b"x")
        except OSError:
            pass
        time.sleep(0.01)
    os._exit(0)
finish()
