package interpreter_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// What waits in TCP connections is memory of the kernel, which control groups of version 1 count apart. It has the
// limit of memory, too; so the two together are at most twice that.
func TestMemoryOfConnections(t *testing.T) {
	t.Parallel()
	const limit = 48 << 20
	pool := newPool(t, func(c *interpreter.Config) { c.Size, c.Quota.MemoryBytes = 1, limit })
	if _, _, control := pool.Sandbox(); control == sandbox.ControlWatchdog {
		t.Skip("nothing counts it here")
	}
	const code = `
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(400)
kept, total, piece = [], 0, bytes(1 << 16)
for _ in range(200):
    client = socket.create_connection(server.getsockname())
    kept += [client, server.accept()[0]]
    client.setblocking(False)
    try:
        while True:
            total += client.send(piece)
    except BlockingIOError:
        pass
    print(total, flush=True)
`
	res := execute(t, pool, job.Spec{Code: code})
	lines := strings.Fields(res.Stdout)
	if len(lines) == 0 {
		t.Fatalf("%s, stderr %s", outcome(res), res.Stderr)
	}
	total, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil || total > 2*limit {
		t.Errorf("%s: %d connections hold %d bytes, %v; the limit is %d", outcome(res), len(lines), total, err, limit)
	}
	t.Logf("%s: %d connections, %d MB", outcome(res), len(lines), total>>20)
}
