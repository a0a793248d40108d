# tries: start threads until no more can be had
# strict: refused at the limit
# basic: refused at the limit
# end: ok HELD
# timeout: 30
# limits: {"processes": 64}
# unsandboxed: either because the number may be limited at every level

ENOUGH = 1000
threading.stack_size(65536)
stop = threading.Event()
threads = []
try:
    while len(threads) < ENOUGH:
        thread = threading.Thread(target=stop.wait)
        thread.start()
        threads.append(thread)
    escaped("%d threads" % len(threads))
except (RuntimeError, OSError) as error:
    note(len(threads), error)
stop.set()
for thread in threads:
    thread.join()
finish()
