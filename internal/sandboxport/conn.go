package sandboxport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// MaxPort is the largest port.
	MaxPort = 65535
	// mostReason bounds the reason that a bridge gives.
	mostReason = 200
	// endTime is the time limit for the end of a bridge.
	endTime = 30 * time.Second
	// Silence is how long a connection may carry no byte in either direction, as long as that of code to its proxy.
	Silence = 15 * time.Minute
	// recordTime is how long the record of a connection is kept after its end: it has nothing that a caller looks for.
	recordTime = 10 * time.Second
	// later is how much later than the connection its bridge ends for silence.
	later = time.Minute
)

// ErrSilent ends a connection that has carried nothing for Silence.
var ErrSilent = fmt.Errorf("no byte has passed in either direction for %s", Silence)

// ClosedError says that nothing listens on a port.
type ClosedError struct {
	Port   int
	Reason string
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("nothing listens on port %d of the sandbox: %s", e.Port, e.Reason)
}

// Port is a port of a session's sandbox.
type Port struct {
	Service *service.Service
	Session string
	Number  int
}

// line is the command that connects with a port: *service.Attached.
type line interface {
	Next(ctx context.Context) (job.CommandOutput, error)
	Send(ctx context.Context, m job.CommandMessage) error
	Close()
}

// conn is a connection to a port: the streams of a command there.
type conn struct {
	port   int
	line   line
	end    func(context.Context) // ends the command
	ctx    context.Context       //nolint:containedctx // of the request
	cancel context.CancelCauseFunc
	silent *time.Timer

	reading sync.Mutex // held while output is read; guards the next two
	rest    []byte
	over    bool // the command has ended

	closed sync.Once
	mu     sync.Mutex
	failed error // why a read or a write failed
}

// Dial connects with the port, for the caller in ctx, which bounds the connection. The error is a *ClosedError if nothing listens there.
func (p Port) Dial(ctx context.Context) (net.Conn, error) { return p.dial(ctx) }

func (p Port) dial(ctx context.Context) (*conn, error) {
	caller := service.CallerOf(ctx)
	attached, err := p.Service.StartAttached(ctx, caller, service.Submission{Request: Connection(p.Session, p.Number)})
	if err != nil {
		return nil, err
	}
	return connect(ctx, p.Number, attached, func(ctx context.Context) {
		_, _, _ = p.Service.EndCommand(ctx, caller, p.Session, attached.ID()) // it may have ended
	})
}

// Connection is the command whose streams are those of a connection with a port of a session. It writes Reached on standard error once it is
// connected, and else the reason and a line end.
func Connection(session string, port int) job.Request {
	return job.Request{
		SessionID: session, Program: bridge(port, Silence+later), Port: &job.PortOf{Number: port, Silence: Silence + later}, Cwd: "/", ResultTTL: new(recordTime.Seconds()),
	}
}

// connect makes a connection of a line, once it has reached the port. end ends the command.
func connect(ctx context.Context, port int, l line, end func(context.Context)) (*conn, error) {
	c := &conn{port: port, line: l, end: end}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.silent = time.AfterFunc(Silence, func() { c.cancel(ErrSilent) })
	if err := c.connected(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connected waits until the bridge has reached the port.
func (c *conn) connected() error {
	var said strings.Builder
	for {
		o, err := c.line.Next(c.ctx)
		switch {
		case errors.Is(err, service.ErrOver):
			c.over = true
			return &ClosedError{c.port, reason(said.String())}
		case err != nil:
			return c.why(err)
		case o.Kind == job.OutputStderr && said.Len() == 0 && len(o.Data) > 0 && o.Data[0] == Reached:
			return nil
		case o.Kind == job.OutputStderr && said.Len() < mostReason:
			said.Write(o.Data)
		}
	}
}

// reason is the one that a bridge gives. Code may have replaced the bridge, so the text is bounded and made printable.
func reason(said string) string {
	said = strings.TrimSpace(strings.ToValidUTF8(said[:min(len(said), mostReason)], ""))
	if said == "" {
		return "python3 does not start in the session, or the code has ended it"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, said)
}

// why notes the reason of a failure, and returns it.
func (c *conn) why(err error) error {
	if c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = err
	}
	return err
}

// Failed returns why a read or a write has failed; nil if none has.
func (c *conn) Failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for len(c.rest) == 0 {
		if c.over {
			return 0, io.EOF
		}
		o, err := c.line.Next(c.ctx)
		switch {
		case errors.Is(err, service.ErrOver):
			c.over = true
		case err != nil:
			return 0, c.why(err)
		case o.Kind == job.OutputStdout:
			c.rest = o.Data // the next call of Next comes when it was read
			c.silent.Reset(Silence)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		end := min(n+job.MaxCommandInput, len(p))
		if err := c.line.Send(c.ctx, job.CommandMessage{Data: p[n:end]}); err != nil {
			if errors.Is(err, job.ErrCommandEnded) {
				return n, io.ErrClosedPipe // what the server has answered before it closed is to be read
			}
			return n, c.why(err)
		}
		n = end
		c.silent.Reset(Silence)
	}
	return len(p), nil
}

// Close ends the command.
func (c *conn) Close() error {
	c.closed.Do(func() {
		c.cancel(net.ErrClosed) // a read ends
		c.silent.Stop()
		c.reading.Lock()
		over := c.over
		c.reading.Unlock()
		c.line.Close()
		if over {
			return
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), endTime)
		defer cancel()
		c.end(late)
	})
	return nil
}

// The addresses and deadlines of a connection that is none of a network.

// LocalAddr is the address of nothing.
func (*conn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is the address of nothing.
func (*conn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline does nothing: the request has its own.
func (*conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (*conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (*conn) SetWriteDeadline(time.Time) error { return nil }
