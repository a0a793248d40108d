package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

const (
	// mcpPath is where a Kaa speaks the Model Context Protocol.
	mcpPath = "/mcp"
	// mostMessage bounds a line, as a Kaa bounds a message.
	mostMessage = 16 << 20
	// mostCalls is how many messages wait for their answers at once.
	mostCalls = 64
)

// MCP passes messages of the Model Context Protocol from stdin, a line of JSON each, to the Kaa at KAA_URL, or to one that it
// starts, and the answers to standard output. It ends when stdin does and all is answered.
func MCP(ctx context.Context, p app.Process, stdin io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	url, key := p.Environ.Get("KAA_URL"), p.Environ.Get("KAA_API_KEY")
	if url == "" {
		key = rand.Text() // keeps other users of this machine from the server
		own := p
		// Standard output belongs to the protocol. Clients show standard error to a person who looks for a mistake.
		own.Stdout, own.Hurry = io.Discard, ctx.Done()
		if own.Environ.Get("KAA_LOG_LEVEL") == "" {
			own.Environ = own.Environ.With("KAA_LOG_LEVEL", "WARN")
		}
		d, err := app.StartDev(ctx, own, map[string]string{"KAA_ADDR": "127.0.0.1:0", "KAA_API_KEYS": key, "KAA_ADMIN_KEYS": "", "KAA_OIDC_ISSUER": ""})
		if err != nil {
			return err
		}
		defer func() { _ = d.Stop(context.WithoutCancel(ctx)) }()
		url = d.Addr().String()
	}
	b := &bridge{client: client.New(url, key), out: p.Stdout, running: map[string]context.CancelFunc{}, room: make(chan struct{}, mostCalls)}
	lines := make(chan error, 1)
	go func() { lines <- b.read(ctx, bufio.NewReaderSize(stdin, 64<<10)) }()
	var err error
	select {
	case err = <-lines:
	case <-ctx.Done(): // a read of standard input cannot be ended
	}
	if err != nil || ctx.Err() != nil {
		cancel()
	}
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
	b.calls.Wait()
	return errors.Join(err, b.failure())
}

// bridge passes messages between two lines of JSON and a Kaa.
type bridge struct {
	client *client.Client
	room   chan struct{} // has room for messages that wait
	calls  sync.WaitGroup

	mu      sync.Mutex
	out     io.Writer
	broken  error                         // of out
	version string                        // of the protocol, once it is agreed upon
	id      string                        // of the connection
	running map[string]context.CancelFunc // by the id of the message
	over    bool                          // no further message is passed on
}

// message is what the bridge reads of one.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		URI       string          `json:"uri"`
		RequestID json.RawMessage `json:"requestId"`
		Meta      struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	} `json:"params"`
}

// read passes the lines of r on until its end.
func (b *bridge) read(ctx context.Context, r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if text := bytes.TrimSpace(line); len(text) > 0 {
			b.pass(ctx, text)
		}
		switch {
		case errors.Is(err, errLongLine):
			b.refuse(nil, -32600, fmt.Sprintf("the message is larger than %d bytes; send less", mostMessage))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read standard input: %w", err)
		}
		if b.failure() != nil {
			return nil
		}
	}
}

var errLongLine = errors.New("the line is too long")

// readLine returns a line; errLongLine after one that is too long, of which nothing is kept.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > mostMessage; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return line, err
		case long:
			return nil, errLongLine
		default:
			return line, nil
		}
	}
}

// pass sends a message, and has its answer written when it comes.
func (b *bridge) pass(ctx context.Context, text []byte) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil && !isMistyped(err) {
		b.refuse(nil, -32700, "the line is not a JSON-RPC message: "+err.Error())
		return
	}
	if m.Method == "notifications/cancelled" {
		b.cancel(string(m.Params.RequestID))
		return
	}
	select {
	case b.room <- struct{}{}:
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	key := string(m.ID)
	send := func() {
		defer b.calls.Done()
		defer cancel()
		defer func() { <-b.room }()
		err := b.send(ctx, m, text)
		if key != "" {
			b.mu.Lock()
			delete(b.running, key)
			b.mu.Unlock()
		}
		if err != nil && ctx.Err() == nil && key != "" {
			b.refuse(m.ID, -32000, err.Error())
		}
	}
	b.mu.Lock()
	if b.over {
		b.mu.Unlock()
		cancel()
		return
	}
	if key != "" {
		b.running[key] = cancel
	}
	b.calls.Add(1)
	b.mu.Unlock()
	if m.Method == "initialize" {
		send() // its answer decides how the next messages are sent
		return
	}
	go send()
}

// isMistyped reports whether an error is about a JSON text that is valid. The server words what is wrong with it.
func isMistyped(err error) bool {
	mistyped := (*json.UnmarshalTypeError)(nil)
	return errors.As(err, &mistyped)
}

// cancel ends a message that waits: the server interrupts what it asked for when its request ends.
func (b *bridge) cancel(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cancel := b.running[id]; cancel != nil {
		cancel()
	}
}

// send sends a message and writes what is answered.
func (b *bridge) send(ctx context.Context, m message, text []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.client.URL()+mcpPath, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("KAA_URL: %w", err)
	}
	b.describe(req.Header, m)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("nothing answers at %s (KAA_URL): %w", b.client.URL(), err)
	}
	defer func() { _ = res.Body.Close() }()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		for e, err := range client.Events(res.Body) {
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			b.answered(m, res.Header, e.Data)
		}
		return nil
	}
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var answer struct {
		ID    json.RawMessage `json:"id"`
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(data, &answer) // what is no JSON is looked at below
	switch {
	case res.StatusCode == http.StatusNotFound && answer.Error == nil:
		return fmt.Errorf("the Kaa at %s does not speak MCP: it is of an older release, or KAA_DIALECTS leaves mcp out", b.client.URL())
	case answer.Error != nil && (len(answer.ID) == 0 || string(answer.ID) == "null"):
		return errors.New(answer.Error.Message)
	case len(data) > 0 && json.Valid(data):
		b.answered(m, res.Header, data)
		return nil
	case res.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(data[:min(len(data), 500)]))
	}
	return nil
}

// describe sets the headers that the protocol wants of a message.
func (b *bridge) describe(h http.Header, m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	if key := b.client.Key(); key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	if b.id != "" {
		h.Set("Mcp-Session-Id", b.id)
	}
	version := m.Params.Meta.Version
	if version == "" {
		version = b.version
	} else {
		// From this revision on, headers repeat parts of the message.
		h.Set("Mcp-Method", m.Method)
		if name := m.Params.Name + m.Params.URI; name != "" {
			h.Set("Mcp-Name", headerText(name))
		}
	}
	if version != "" {
		h.Set("Mcp-Protocol-Version", version)
	}
}

// headerText returns a text as the protocol wants it in a header.
func headerText(text string) string {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if strings.ContainsFunc(text, odd) || strings.TrimSpace(text) != text || strings.HasPrefix(text, "=?base64?") {
		return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
	}
	return text
}

// answered writes a message that has come from the server.
func (b *bridge) answered(m message, header http.Header, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Method == "initialize" {
		var answer struct {
			Result struct {
				Version string `json:"protocolVersion"`
			} `json:"result"`
		}
		if json.Unmarshal(data, &answer) == nil && answer.Result.Version != "" {
			b.version, b.id = answer.Result.Version, header.Get("Mcp-Session-Id")
		}
	}
	var line bytes.Buffer
	if json.Compact(&line, data) != nil {
		return // not a message
	}
	line.WriteByte('\n')
	if _, err := b.out.Write(line.Bytes()); err != nil && b.broken == nil {
		b.broken = fmt.Errorf("write standard output: %w", err)
	}
}

// refuse answers a message with an error.
func (b *bridge) refuse(id json.RawMessage, code int, text string) {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": text}})
	if err == nil {
		b.answered(message{}, nil, data)
	}
}

// failure returns the error of standard output.
func (b *bridge) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}
