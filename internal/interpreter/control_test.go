package interpreter_test

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// A worker's control socket, and a copy's, is of our network. It has a name there, gets no other, and
// nobody can connect to it.
func TestControlSocketName(t *testing.T) {
	t.Parallel()
	const code = `
import os, socket
control = socket.socket(fileno=os.dup(1000))
for take in (lambda: control.bind("\0taken"), lambda: control.bind("taken"), control.listen, lambda: control.connect("\0taken")):
    try:
        take()
        print("took")
    except OSError:
        pass
print(os.path.exists("taken"), control.getsockname()[1:].decode())
control.close()
`
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		names := map[string]bool{}
		for _, s := range append(fork(t, s, 2), s) {
			said, name, _ := strings.Cut(strings.TrimSpace(step(t, s, job.Spec{Code: code}).Stdout), " ")
			if said != "False" || len(name) != 5 {
				t.Errorf("the code says %s, its name is %q", said, name)
			}
			names[name] = true
			for _, kind := range []string{"unix", "unixpacket", "unixgram"} {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), kind, "@"+name)
				if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EPROTOTYPE) {
					t.Errorf("connect to it with %s: %v, %v", kind, conn, err)
				}
			}
		}
		if len(names) != 3 {
			t.Errorf("names %v", names)
		}
	})
}
