package interpreter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// connectTime is the time limit for a server to take a connection.
const connectTime = 10 * time.Second

// connection is a connection of the runner with a port of a session's sandbox, in place of a command that connects. No process of the sandbox has
// its socket, and the runner does not look at what it carries.
type connection struct {
	s     *Session
	spec  job.Spec
	live  job.Live
	conn  *net.TCPConn
	began time.Time
	pumps *goroutines
	over  chan struct{} // closed when no more messages are taken
	ended chan struct{} // closed when the server has closed it
	moved chan struct{} // has something when a byte has passed
}

// canConnect reports whether the runner connects with a port instead of starting the command. Only at strict does the sandbox have a network of
// its own: elsewhere the port would be the runner's.
func (s *Session) canConnect(c *job.Command, live job.Live) bool {
	return c.Port != nil && live.Bytes != nil && live.Messages != nil && s.w.pool.cfg.Sandbox == sandbox.Strict
}

// runConnection is Run for a connection.
func (s *Session) runConnection(ctx context.Context, spec job.Spec, live job.Live) (job.Result, error) {
	c := &connection{
		s: s, spec: spec, live: live, began: time.Now(), pumps: newGoroutines(),
		over: make(chan struct{}), ended: make(chan struct{}), moved: make(chan struct{}, 1),
	}
	if ctx.Err() != nil {
		return c.result(cancelled), nil
	}
	conn, err := s.connect(ctx, spec.Command.Port.Number)
	number := syscall.Errno(0)
	if err != nil && ctx.Err() == nil && !errors.As(err, &number) && !errors.Is(err, context.DeadlineExceeded) {
		return job.Result{}, fmt.Errorf("run connection on %s: %w", s.w.id, err)
	}
	live.Bytes.Started(0) // it has no process
	if err != nil {
		live.Bytes.Stream(job.OutputStderr, []byte(reasonOf(err, number)+"\n"))
		live.Bytes.Finish()
		res := c.result("")
		res.Status, res.ExitCode = job.StatusExit, new(1)
		if ctx.Err() != nil {
			res = c.result(cancelled)
		}
		return res, nil
	}
	c.conn = conn
	defer func() { _ = conn.Close() }()
	live.Bytes.Stream(job.OutputStderr, []byte{job.PortReached})
	c.pumps.Go(c.down)
	c.pumps.Go(c.up)
	stopped := c.watch(ctx)
	c.settle()
	return c.result(stopped), nil
}

func reasonOf(err error, number syscall.Errno) string {
	if number != 0 {
		return number.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the server takes no connections: none for " + connectTime.String()
	}
	return "cancelled"
}

// connect connects with a port of the sandbox's loopback: by IPv4, else by IPv6. The error is that of the first.
func (s *Session) connect(ctx context.Context, port int) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	var first error
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		conn, err := s.connectBy(ctx, family, port)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (s *Session) connectBy(ctx context.Context, family, port int) (*net.TCPConn, error) {
	m, err := s.makeSocket(family)
	if err != nil {
		return nil, err
	}
	if m.Errno != 0 {
		return nil, syscall.Errno(m.Errno)
	}
	if m.File == nil {
		return nil, errors.New("no socket came with the answer")
	}
	return process.Connect(ctx, m.File, family, port)
}

// makeSocket has the process that starts commands make a socket, because it is in the sandbox's network.
func (s *Session) makeSocket(family int) (process.Message, error) {
	defer s.pausing.ask()()
	of, err := s.beginCommands()
	if err != nil {
		return process.Message{}, err
	}
	c := &Command{of: of, answer: make(chan process.Message, 1), ended: make(chan struct{}), killed: make(chan struct{})}
	if c.id, err = of.add(c); err != nil {
		return process.Message{}, err
	}
	defer of.remove(c.id)
	if err := of.send(commandRequest{Cmd: "socket", ID: c.id, Family: family}); err != nil {
		return process.Message{}, err
	}
	select {
	case m := <-c.answer:
		return m, nil
	case <-of.gone:
		return process.Message{}, ErrClosed
	case <-time.After(s.w.pool.cfg.StartTimeout):
		of.abandon()
		return process.Message{}, fmt.Errorf("await a socket: %w", context.DeadlineExceeded)
	}
}

// down passes on what the server sends, until it closes. The server waits as long as the follower does.
func (c *connection) down() {
	defer close(c.ended)
	buffers := &c.s.w.pool.buffers
	buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool's only type
	defer buffers.Put(buf)
	for {
		n, err := c.conn.Read(*buf)
		if n > 0 {
			c.live.Bytes.Stream(job.OutputStdout, (*buf)[:n])
			c.move()
		}
		if err != nil {
			return // what a server that resets has sent before was read
		}
	}
}

// up passes on what the caller sends. After a failure, that is dropped.
func (c *connection) up() {
	for {
		select {
		case in := <-c.live.Messages.Input:
			if len(in.Data) > 0 {
				_, _ = c.conn.Write(in.Data)
				c.move()
			}
			if in.EOF {
				_ = c.conn.CloseWrite()
			}
			c.live.Messages.Taken(in)
		case <-c.over:
			return
		}
	}
}

func (c *connection) move() {
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// watch waits for the end of the connection. It returns why it was ended; empty if the server has closed it.
func (c *connection) watch(ctx context.Context) (stopped string) {
	t := c.s.pausing.standstill(ctx.Done(), c.spec.Timeout)
	defer t.stop()
	silent := time.NewTimer(c.spec.Command.Port.Silence)
	defer silent.Stop()
	for {
		select {
		case <-c.ended:
			return ""
		case <-c.s.commands.gone:
			return "the sandbox has ended"
		case <-c.s.w.closing:
			return "the session was closed"
		case <-t.done:
			return cancelled
		case <-t.timeout.C:
			return timedOut(c.spec.Timeout)
		case <-silent.C:
			return "no byte has passed for " + c.spec.Command.Port.Silence.String()
		case <-c.moved:
			silent.Reset(c.spec.Command.Port.Silence)
		case in := <-c.live.Messages.Control:
			if in.Signal != "" {
				return cancelled
			}
		case <-t.begins:
			t.begin()
		case <-t.ends:
			t.end()
		}
	}
}

// settle ends the connection and both directions.
func (c *connection) settle() {
	close(c.over)
	c.live.Bytes.Finish()
	_ = c.conn.Close()
	<-c.pumps.last()
}

// result returns the result of a connection that ended, or was stopped for a reason.
func (c *connection) result(stopped string) job.Result {
	res := job.Result{SessionID: c.s.w.id, DurationMs: float64(time.Since(c.began).Microseconds()) / 1000, Status: job.StatusOK, ExitCode: new(0)}
	if stopped != "" {
		res.Status, res.ExitCode = job.StatusInterrupted, nil
		res.Error = &job.Error{Name: "KeyboardInterrupt", Value: stopped}
	}
	return res
}
