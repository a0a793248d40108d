# tries: outlive its timeout after its end: in atexit, in a thread that is joined, in a finalizer
# strict: killed after the grace
# basic: killed after the grace
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

import atexit


def stay():
    while staying():
        try:
            time.sleep(0.01)
        except BaseException:
            pass


atexit.register(stay)
threading.Thread(target=stay).start()
