package sandboxport

import (
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// program connects its streams with a port of the sandbox. A byte on its standard error says that it has. It ends after a silence, in case the API
// process that started it has died, and at once at SIGINT.
const program = `import os, select, signal, socket, sys, threading, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
port, silence = int(sys.argv[1]), float(sys.argv[2])
for host in '127.0.0.1', '::1':
    try:
        s = socket.create_connection((host, port), 10)
        break
    except OSError as e:
        why = e if host == '127.0.0.1' else why
else:
    sys.exit(why.strerror or str(why))
s.settimeout(None)
os.write(2, b'+')
last = time.monotonic()
def up():
    global last
    try:
        while data := os.read(0, 65536):
            s.sendall(data)
            last = time.monotonic()
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
threading.Thread(target=up, daemon=True).start()
try:
    while True:
        if not select.select([s], [], [], silence)[0]:
            if time.monotonic() - last >= silence:
                os._exit(1)
            continue
        data = s.recv(65536)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
        last = time.monotonic()
except OSError:
    pass
os._exit(0)
`

// bridge is the command that connects its streams with a port of the sandbox in which it runs, until either end closes or no byte has passed for a
// time. Runners that cannot connect start it.
func bridge(port int, silence time.Duration) []string {
	return []string{"python3", "-IS", "-c", program, strconv.Itoa(port), strconv.Itoa(int(silence / time.Second))}
}

// Reached is the byte by which a connection reports that it is there.
const Reached = job.PortReached
