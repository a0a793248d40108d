package daytona

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// bridge is the program that connects its streams with a port of the sandbox. A byte on its standard error says that it has.
const bridge = `import os, socket, sys, threading
for host in '127.0.0.1', '::1':
    try:
        s = socket.create_connection((host, int(sys.argv[1])), 10)
        break
    except OSError as e:
        why = e
else:
    sys.exit(f'{why.strerror or why}')
s.settimeout(None)
os.write(2, b'+')
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    while data:
        data = data[os.write(1, data):]
os._exit(0)
`

// portConn is a connection to a port of a sandbox: the streams of a command there.
type portConn struct {
	d        *Dialect
	ctx      context.Context //nolint:containedctx // of the request
	cancel   context.CancelFunc
	session  string
	attached *service.Attached
	rest     []byte
	reading  sync.Mutex // held while output is read
	closed   sync.Once
}

// dial connects with a port of a sandbox.
func (d *Dialect) dial(ctx context.Context, se job.Session, port int) (net.Conn, error) {
	timeout := d.longest()
	ctx, cancel := context.WithCancel(ctx)
	attached, err := d.service.StartAttached(ctx, service.CallerOf(ctx), service.Submission{Request: job.Request{
		SessionID: se.ID, Program: []string{"python3", "-c", bridge, strconv.Itoa(port)}, Cwd: "/", Timeout: &timeout,
	}})
	if err != nil {
		cancel()
		return nil, dialect.FaultOf(ctx, d.log, err)
	}
	c := &portConn{d: d, ctx: ctx, cancel: cancel, session: se.ID, attached: attached}
	if err := c.connected(port); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connected waits until the bridge has reached the port.
func (c *portConn) connected(port int) error {
	var said strings.Builder
	for {
		o, err := c.attached.Next(c.ctx)
		switch {
		case errors.Is(err, service.ErrOver):
			return dialect.NewFault(http.StatusBadGateway, "port_closed", "nothing listens on port %d of the sandbox: %s", port, clipped(strings.TrimSpace(said.String())))
		case err != nil:
			return dialect.FaultOf(c.ctx, c.d.log, err)
		case o.Kind == job.OutputStderr && said.Len() == 0 && o.Data[0] == '+':
			return nil
		case o.Kind == job.OutputStderr && said.Len() < 1000:
			said.Write(o.Data)
		}
	}
}

func (c *portConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for len(c.rest) == 0 {
		o, err := c.attached.Next(c.ctx)
		switch {
		case errors.Is(err, service.ErrOver):
			return 0, io.EOF
		case err != nil:
			return 0, err
		case o.Kind == job.OutputStdout:
			c.rest = o.Data // the next call of Next comes when it was read
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *portConn) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		end := min(n+job.MaxCommandInput, len(p))
		if err := c.attached.Send(c.ctx, job.CommandMessage{Data: p[n:end]}, func() {}); err != nil {
			return n, err
		}
		n = end
	}
	return len(p), nil
}

// Close ends the bridge.
func (c *portConn) Close() error {
	c.closed.Do(func() {
		c.cancel() // a read ends
		c.reading.Lock()
		defer c.reading.Unlock()
		c.attached.Close()
		c.d.endLine(c.ctx, c.session, c.attached.ID())
	})
	return nil
}

// The addresses and deadlines of a connection that is none of a network.

// LocalAddr is the address of nothing.
func (*portConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is the address of nothing.
func (*portConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline does nothing: the request has its own.
func (*portConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (*portConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (*portConn) SetWriteDeadline(time.Time) error { return nil }
