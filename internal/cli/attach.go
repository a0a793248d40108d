package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// inputPiece is how much input one frame has.
	inputPiece = 32 << 10
	// mostFrame bounds a frame of the server.
	mostFrame = 1 << 20
	// endTime bounds the calls that end what is left of a command.
	endTime = 10 * time.Second
)

// attachment is a command that `kaa exec` has started with its input, over a WebSocket. The command is in the background, so
// the attachment ends it if it leaves before the command has ended.
type attachment struct {
	*run
	o    ExecOptions
	conn *websocket.Conn
}

// startFrame is the first frame, which describes the command.
type startFrame struct {
	Type string `json:"type"`
	execRequest
	Terminal *job.TerminalSize `json:"terminal,omitempty"`
}

// resizeFrame sets the size of the terminal.
type resizeFrame struct {
	Type string `json:"type"`
	job.TerminalSize
}

// execAttached runs a command whose input comes while it runs. Without a session it opens one, and ends that.
func (r *run) execAttached(ctx context.Context, o ExecOptions, request execRequest) error {
	session := o.Session
	if session == "" {
		var err error
		if session, err = r.client.openSession(ctx); err != nil {
			return err
		}
		defer r.client.end("/v1/sessions/" + session)
	}
	conn, err := r.client.dial(ctx, commandsOf(session)+"/ws")
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(mostFrame)
	a := &attachment{run: r, o: o, conn: conn}
	start := startFrame{Type: "start", execRequest: request}
	if o.Terminal {
		start.Terminal = sizeOf(o.Stdin)
	}
	if err := a.send(ctx, start); err != nil {
		return err
	}
	end, err := a.serve(ctx)
	if err != nil {
		r.mu.Lock()
		id := r.job
		r.mu.Unlock()
		if id != "" {
			r.client.end(commandsOf(session) + "/" + id)
		}
		return err
	}
	return r.report(end)
}

// serve passes input, sizes and output until the command has ended.
func (a *attachment) serve(ctx context.Context) (runEnd, error) {
	if a.o.Terminal {
		defer rawMode(a.o.Stdin)()
	}
	ctx, leave := context.WithCancel(ctx)
	var others, reading sync.WaitGroup
	reading.Go(func() { a.passInput(ctx) })
	others.Go(func() { a.passSizes(ctx) })
	defer func() {
		leave()
		others.Wait()
		if a.o.Stdin.SetReadDeadline(time.Unix(1, 0)) == nil { // else a read of it cannot be ended
			reading.Wait()
		}
	}()
	return a.passOutput(ctx)
}

// passInput sends what comes on standard input. An error means that the connection has ended, which passOutput reports.
func (a *attachment) passInput(ctx context.Context) {
	buffer := make([]byte, inputPiece)
	for {
		n, err := a.o.Stdin.Read(buffer)
		if n > 0 && a.conn.Write(ctx, websocket.MessageBinary, buffer[:n]) != nil || ctx.Err() != nil {
			return
		}
		if err != nil {
			_ = a.send(ctx, map[string]string{"type": "end"})
			return
		}
	}
}

// passSizes sends the size of the window when that has changed.
func (a *attachment) passSizes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.o.Resized:
		}
		if a.o.Terminal && a.send(ctx, resizeFrame{"resize", *sizeOf(a.o.Stdin)}) != nil {
			return
		}
	}
}

// passOutput prints what the command writes, and returns its end.
func (a *attachment) passOutput(ctx context.Context) (runEnd, error) {
	stream := job.OutputStdout
	for {
		kind, data, err := a.conn.Read(ctx)
		if err != nil {
			return runEnd{}, fmt.Errorf("the connection to Kaa ended before the program did: %w", err)
		}
		if kind == websocket.MessageBinary {
			if err := a.wrote(stream, string(data)); err != nil {
				return runEnd{}, err
			}
			continue
		}
		var f struct {
			Type, ID, Stream, Detail string
		}
		if err := json.Unmarshal(data, &f); err != nil {
			return runEnd{}, fmt.Errorf("decode frame: %w", err)
		}
		switch f.Type {
		case "attached":
			a.began(f.ID)
		case "stream":
			stream = f.Stream
		case "error":
			return runEnd{}, errors.New(f.Detail)
		case "exit":
			var end runEnd
			if err := json.Unmarshal(data, &end); err != nil {
				return runEnd{}, fmt.Errorf("decode the last frame: %w", err)
			}
			return end, nil
		}
	}
}

func (a *attachment) send(ctx context.Context, frame any) error {
	text, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if err := a.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// dial opens a WebSocket.
func (c client) dial(ctx context.Context, path string) (*websocket.Conn, error) {
	o := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if c.key != "" {
		o.HTTPHeader.Set("Authorization", "Bearer "+c.key)
	}
	conn, res, err := websocket.Dial(ctx, strings.TrimSuffix(c.url, "/")+path, o)
	if err == nil {
		return conn, nil
	}
	if res != nil && res.Body != nil {
		defer func() { _ = res.Body.Close() }()
		return nil, c.refused(res)
	}
	return nil, c.unreachable(err)
}

// openSession opens a session and returns its id.
func (c client) openSession(ctx context.Context) (string, error) {
	res, err := c.call(ctx, http.MethodPost, "/v1/sessions", bytes.NewReader([]byte("{}")), http.Header{"Content-Type": {"application/json"}})
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	var session struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&session); err != nil {
		return "", fmt.Errorf("decode session: %w", err)
	}
	return session.ID, nil
}

// end deletes what `kaa exec` has made. An error is ignored, since it may have ended before.
func (c client) end(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if res, err := c.call(ctx, http.MethodDelete, path, nil, nil); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// defaultSize is the size of the terminal if standard input is none.
var defaultSize = job.TerminalSize{Columns: 80, Rows: 24} //nolint:gochecknoglobals // a constant

func sizeOf(f *os.File) *job.TerminalSize {
	size := defaultSize
	if w := windowOf(f); w != nil && w.Col > 0 && w.Row > 0 {
		size = job.TerminalSize{Columns: w.Col, Rows: w.Row}
	}
	return &size
}
