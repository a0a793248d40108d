package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/kaa-run/kaa/client"
)

// inputPiece is how much input one frame has.
const inputPiece = 32 << 10

// attachment is a command that `kaa exec` has started with its input, over a WebSocket. The command is in the background, so
// the attachment ends it if it leaves before the command has ended.
type attachment struct {
	*run
	o    ExecOptions
	conn *client.Socket
}

// startFrame is the first frame, which describes the command.
type startFrame struct {
	Type string `json:"type"`
	client.CommandBody
}

// resizeFrame sets the size of the terminal.
type resizeFrame struct {
	Type string `json:"type"`
	client.TerminalBody
}

// execAttached runs a command whose input comes while it runs. Without a session it opens one, and ends that.
func (r *run) execAttached(ctx context.Context, o ExecOptions, request client.CommandBody) error {
	session := o.Session
	if session == "" {
		made, err := r.client.OpenSession(ctx, client.SessionBody{})
		if err != nil {
			return err
		}
		session = made.ID
		defer end(func(ctx context.Context) { _, _ = r.client.CloseSession(ctx, session) })
	}
	conn, err := r.client.DialCommand(ctx, session)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	a := &attachment{run: r, o: o, conn: conn}
	if o.Terminal {
		request.Terminal = sizeOf(o.Stdin)
	}
	if err := conn.Send(ctx, startFrame{"start", request}); err != nil {
		return err
	}
	ended, err := a.serve(ctx)
	if err != nil {
		r.mu.Lock()
		id := r.job
		r.mu.Unlock()
		if id != "" {
			end(func(ctx context.Context) { _, _ = r.client.EndCommand(ctx, session, id) })
		}
		return err
	}
	return r.report(ended)
}

// serve passes input, sizes and output until the command has ended.
func (a *attachment) serve(ctx context.Context) (client.End, error) {
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
		if n > 0 && a.conn.SendBytes(ctx, buffer[:n]) != nil || ctx.Err() != nil {
			return
		}
		if err != nil {
			_ = a.conn.Send(ctx, map[string]string{"type": "end"})
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
		if a.o.Terminal && a.conn.Send(ctx, resizeFrame{"resize", *sizeOf(a.o.Stdin)}) != nil {
			return
		}
	}
}

// passOutput prints what the command writes, and returns its end.
func (a *attachment) passOutput(ctx context.Context) (client.End, error) {
	stream := "stdout"
	for {
		data, binary, err := a.conn.Read(ctx)
		if err != nil {
			return client.End{}, err
		}
		if binary {
			if err := a.wrote(stream, string(data)); err != nil {
				return client.End{}, err
			}
			continue
		}
		var f struct {
			Type, ID, Stream, Detail string
		}
		if err := json.Unmarshal(data, &f); err != nil {
			return client.End{}, fmt.Errorf("decode frame: %w", err)
		}
		switch f.Type {
		case "attached":
			a.began(f.ID)
		case "stream":
			stream = f.Stream
		case "error":
			return client.End{}, errors.New(f.Detail)
		case "exit":
			var end client.End
			if err := json.Unmarshal(data, &end); err != nil {
				return client.End{}, fmt.Errorf("decode the last frame: %w", err)
			}
			return end, nil
		}
	}
}

// end does what ends a session or command that `kaa exec` has made, also after the end of its context. Errors do not count, since that may
// have ended before.
func end(do func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	do(ctx)
}

// sizeOf returns the size of a terminal, or a usual one if f is none.
func sizeOf(f *os.File) *client.TerminalBody {
	if w := windowOf(f); w != nil && w.Col > 0 && w.Row > 0 {
		return &client.TerminalBody{Columns: int64(w.Col), Rows: int64(w.Row)}
	}
	return &client.TerminalBody{Columns: 80, Rows: 24}
}
