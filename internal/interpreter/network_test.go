package interpreter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// sayNetwork is code that prints in which network it is, and what it finds
// there: connections, packets, and whether it can have a port for itself.
const sayNetwork = `
import os, socket
print(os.readlink('/proc/self/ns/net'), end=' ')
found = [line for name in ('tcp', 'tcp6', 'udp', 'udp6', 'ip6_flowlabel') for line in open('/proc/net/' + name).readlines()[1:]]
dev = open('/proc/net/dev').read().partition('lo:')[2].split()
server = socket.socket()
try: server.bind(('127.0.0.1', 8000))
except OSError as error: found.append(error)
print('as new' if not found and set(dev) == {'0'} else [found, dev])
`

// leaveConnections is code that leaves connections in all states behind, of which some
// are not done when their processes have ended: their packets are dropped.
const leaveConnections = `
server.listen()
clients = []
for i in range(8):
    client = socket.create_connection(('127.0.0.1', 8000))
    there = server.accept()[0]
    if i % 2:
        try: there.setsockopt(socket.IPPROTO_IP, 21, 255)  # IP_MINTTL
        except PermissionError: pass
        client.setblocking(False)
        try:
            while True: client.send(bytes(1 << 16))
        except BlockingIOError: pass
    elif i % 4: there.close()
    clients.append((client, there))
datagrams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
datagrams[0].bind(('127.0.0.1', 8000))
datagrams[1].sendto(b'x', ('127.0.0.1', 8000))
`

// networks runs code in a pool for one worker, several times, and returns the networks that
// each slot has had. Each was as new.
func networks(t *testing.T, times int, code string) map[int]map[string]bool {
	t.Helper()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	seen := map[int]map[string]bool{}
	for range times {
		w := acquire(t, pool)
		slot := w.SlotPid()
		res, err := w.Execute(t.Context(), job.Spec{Code: sayNetwork + code, Timeout: ample}, job.Live{})
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		network, found, _ := strings.Cut(strings.TrimSpace(res.Stdout), " ")
		if found != "as new" {
			t.Errorf("the network of a new worker: %s", res.Stdout)
			continue
		}
		if seen[slot] == nil {
			seen[slot] = map[string]bool{}
		}
		seen[slot][network] = true
	}
	return seen
}

// An execution finds no trace of what those before it have done in the network.
func TestNetworkIsNew(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{
		"TCP":       leaveConnections,
		"killed":    leaveConnections + "if os.fork() == 0: os.kill(os.getppid(), 9)",
		"datagrams": "server.close()\na = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\na.sendto(b'x', ('127.0.0.1', 8000))",
		// A label for packets outlives the socket for a minute, and no packet need be sent.
		"IPv6": "a = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\na.sendto(b'x', ('::1', 8000))",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const times = 6
			t.Logf("%d slots for %d executions", len(networks(t, times, code)), times)
		})
	}
}

// Executions that use no network have the one of their slot.
func TestNetworkIsKept(t *testing.T) {
	t.Parallel()
	slots := networks(t, 8, "a, b = socket.socketpair()\na.send(b'x')")
	for slot, all := range slots {
		if len(all) != 1 {
			t.Errorf("slot %d had %d networks", slot, len(all))
		}
	}
	if len(slots) > 4 {
		t.Errorf("%d slots for 8 executions", len(slots))
	}
}

// Sessions keep their network until the last of a fork group ends.
func TestNetworkOfSessions(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	const same = "print(os.readlink('/proc/self/ns/net') == network, open('/proc/net/dev').read().partition('lo:')[2].split()[0] != '0')"
	for range 3 {
		s := session(t, pool, job.SessionSpec{})
		text := step(t, s, job.Spec{Code: sayNetwork + leaveConnections + "server.close()\nfor pair in clients + [datagrams]: [s.close() for s in pair]"}).Stdout
		if !strings.HasSuffix(text, "as new\n") {
			t.Errorf("the network of a new session: %s", text)
		}
		says(t, s, "network = os.readlink('/proc/self/ns/net')\n"+same, "True True\n")
		kept := fork(t, s, 1)[0]
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		says(t, kept, same, "True True\n")
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}
}
