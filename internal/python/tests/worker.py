"""A worker without a zygote, on the socket that test_repl_worker.py has put at 3."""

import os
import sys

SOCKET = 3

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import repl_worker

    os.set_inheritable(SOCKET, False)
    repl_worker.prepare()
    repl_worker.main(SOCKET, len)
