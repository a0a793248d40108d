package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/sandboxport"
)

// ForwardOptions are those of `kaa forward`.
type ForwardOptions struct {
	Session string
	Ports   []string // of the session, perhaps with the port of this machine in front: 9000:8000
	// Listening is called with the address of each port; nil for none.
	Listening func(port int, at net.Addr)
}

// forwarding passes the connections of one port of this machine on.
type forwarding struct {
	*run
	session string
	port    int
	open    sync.WaitGroup
}

// Forward passes connections to ports of this machine on to ports of a session, until ctx ends. They carry any protocol over TCP.
func Forward(ctx context.Context, p app.Process, o ForwardOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	r := &run{p: p, client: c}
	session, err := sessionID(ctx, c, o.Session)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, text := range o.Ports {
		local, port, err := portsOf(text)
		if err != nil {
			return fmt.Errorf("port %q: %w", text, err)
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
		if err != nil {
			return err //nolint:wrapcheck // it says what and where
		}
		if o.Listening != nil {
			o.Listening(port, listener.Addr())
		}
		f := &forwarding{run: r, session: session, port: port}
		all.Go(func() { f.serve(ctx, listener) })
	}
	<-ctx.Done()
	return nil
}

// portsOf reads PORT or LOCAL:PORT.
func portsOf(text string) (local, port int, err error) {
	first, second, two := strings.Cut(text, ":")
	if !two {
		second = first
	}
	if port, err = sandboxport.Number(second); err != nil {
		return 0, 0, err
	}
	if local, err = strconv.Atoi(first); err != nil || local < 0 || local > sandboxport.MaxPort {
		return 0, 0, errors.New("the port of this machine must be from 0, for any that is free, to 65535")
	}
	return local, port, nil
}

// serve passes connections on until ctx ends.
func (f *forwarding) serve(ctx context.Context, listener net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer f.open.Wait()
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.say("accept: %v", err)
			time.Sleep(acceptPause) // too many open files, say
		default:
			f.open.Go(func() {
				if err := f.pass(ctx, conn); err != nil && ctx.Err() == nil {
					f.say("port %d: %v", f.port, err)
				}
			})
		}
	}
}

// acceptPause follows a connection that could not be accepted.
const acceptPause = 100 * time.Millisecond

func (f *forwarding) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = fmt.Fprintf(f.p.Stderr, format+"\n", args...)
}

// connectFrame is the first frame of a connection with a port.
type connectFrame struct {
	Type string `json:"type"`
	Port int    `json:"port"`
}

// pass passes one connection on.
func (f *forwarding) pass(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer func() { _ = conn.Close() }()
	defer cancel()
	socket, err := f.client.DialCommand(ctx, f.session)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	if err := socket.Send(ctx, connectFrame{"connect", f.port}); err != nil {
		return err
	}
	l := &tunnel{conn: conn, socket: socket, said: new(strings.Builder)}
	ended, err := l.receive(ctx, func() { sending.Go(func() { l.send(ctx) }) })
	if !ended && l.id != "" {
		end(func(ctx context.Context) { _, _ = f.client.EndCommand(ctx, f.session, l.id) })
	}
	if err == nil && !l.reached {
		err = fmt.Errorf("nothing listens there: %s", strings.TrimSpace(l.said.String()))
	}
	return err
}

// tunnel is a connection and the command whose streams are those of the port.
type tunnel struct {
	conn    net.Conn
	socket  *client.Socket
	id      string // of the command
	reached bool
	said    *strings.Builder // on standard error
}

// send sends what the connection brings.
func (l *tunnel) send(ctx context.Context) {
	buffer := make([]byte, inputPiece)
	for {
		n, err := l.conn.Read(buffer)
		if n > 0 && l.socket.SendBytes(ctx, buffer[:n]) != nil {
			return
		}
		if err != nil {
			_ = l.socket.Send(ctx, map[string]string{"type": "end"})
			return
		}
	}
}

// receive writes what the server sends to the connection, and calls begun when the port is reached. It reports whether the command has ended.
func (l *tunnel) receive(ctx context.Context, begun func()) (ended bool, err error) {
	stream := "stdout"
	for {
		data, binary, err := l.socket.Read(ctx)
		switch {
		case err != nil:
			return false, err
		case binary && stream == "stdout":
			if _, err := l.conn.Write(data); err != nil {
				return false, nil //nolint:nilerr // its other end has gone
			}
			continue
		case binary && !l.reached && len(data) > 0 && data[0] == sandboxport.Reached:
			l.reached = true
			begun()
			continue
		case binary:
			if l.said.Len() < inputPiece {
				l.said.Write(data)
			}
			continue
		}
		var f struct{ Type, ID, Stream, Detail string }
		if err := json.Unmarshal(data, &f); err != nil {
			return false, fmt.Errorf("decode frame: %w", err)
		}
		switch f.Type {
		case "attached":
			l.id = f.ID
		case "stream":
			stream = f.Stream
		case "error":
			return false, errors.New(f.Detail)
		case "exit":
			return true, nil
		}
	}
}
