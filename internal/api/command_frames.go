package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// inputPiece is how much input is read and sent at once.
	inputPiece = 32 << 10
	// maxCommandFrame bounds a text frame but the first.
	maxCommandFrame = 4 << 10
)

// The frames of clients of a command that are text.
type (
	startFrame struct {
		Type string `json:"type"`
		CommandBody
	}
	connectFrame struct {
		Type string `json:"type"`
		Port int    `json:"port" minimum:"1" maximum:"65535"`
	}
	resizeFrame struct {
		Type string `json:"type"`
		TerminalBody
	}
	signalFrame struct {
		Type   string `json:"type"`
		Signal string `json:"signal" minLength:"1" maxLength:"32"`
	}
	plainFrame struct {
		Type string `json:"type"`
	}
)

// The frames to them.
type (
	attachedFrame struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		PID  int    `json:"pid,omitempty"`
	}
	// streamFrame says to which stream the binary frames after it belong.
	streamFrame struct {
		Type   string `json:"type"`
		Stream string `json:"stream"`
	}
	exitFrame struct {
		Type       string       `json:"type"`
		ID         string       `json:"id"`
		State      job.State    `json:"state"`
		Status     job.Status   `json:"status,omitempty"`
		ExitCode   *int         `json:"exitCode,omitempty"`
		Signal     string       `json:"signal,omitempty"`
		Error      *exitError   `json:"error,omitempty"`
		Failure    *job.Failure `json:"failure,omitempty"`
		DurationMs *float64     `json:"durationMs,omitempty"`
		CPUMs      *float64     `json:"cpuMs,omitempty"`
	}
	exitError struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// commandSocketSchemas are what the text frames are checked against, by type.
func (s *server) commandSocketSchemas() map[string]*huma.Schema {
	schema := func(t reflect.Type) *huma.Schema { return huma.SchemaFromType(s.api.OpenAPI().Components.Schemas, t) }
	plain := schema(reflect.TypeFor[plainFrame]())
	return map[string]*huma.Schema{
		"start": schema(reflect.TypeFor[startFrame]()), "connect": schema(reflect.TypeFor[connectFrame]()), "resize": schema(reflect.TypeFor[resizeFrame]()),
		"signal": schema(reflect.TypeFor[signalFrame]()), "end": plain, "ping": plain,
	}
}

var inputPieces = sync.Pool{New: func() any { return new([inputPiece]byte) }} //nolint:gochecknoglobals // a pool

// readFrames passes on what the client sends until it goes, or sends what can be no frame.
func (k *commandSocket) readFrames(ctx context.Context) error {
	for {
		kind, r, err := k.reading.Next(ctx, k.conn)
		switch {
		case err != nil:
			return errClientGone
		case kind == websocket.MessageBinary:
			err = k.input(ctx, r)
		default:
			err = k.control(ctx, r)
		}
		if err != nil {
			return err
		}
	}
}

// input gives the command the bytes of a frame as they come. Bytes that the command has no room for keep the client waiting.
func (k *commandSocket) input(ctx context.Context, r io.Reader) error {
	buffer := inputPieces.Get().(*[inputPiece]byte)
	defer inputPieces.Put(buffer)
	refused := false
	for {
		n, err := r.Read(buffer[:])
		if n > 0 && !refused {
			told := k.of.Send(ctx, job.CommandMessage{Data: buffer[:n]})
			if refused = told != nil; refused {
				if err := k.refuse(ctx, "", told); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errClientGone
		}
	}
}

// readText reads the first frame.
func (k *commandSocket) readText(ctx context.Context) (kind string, text []byte, err error) {
	within, cancel := context.WithTimeout(ctx, k.s.cfg.FrameTimeout)
	defer cancel()
	held := k.s.cfg.Service.HoldBody(k.caller)
	defer held.Release()
	text, err = k.read(within, held)
	if err != nil {
		return "", nil, err
	}
	var head plainFrame
	_ = json.Unmarshal(text, &head) // the schema says what is wrong with it
	return head.Type, text, nil
}

// control carries out a text frame. An error ends the connection; what is wrong with the frame does not.
func (k *commandSocket) control(ctx context.Context, r io.Reader) error {
	text, err := service.ReadMessage(k.conn, r, service.MessageLimits{Pause: k.s.cfg.FrameTimeout, Most: maxCommandFrame})
	switch {
	case errors.Is(err, service.ErrMessageTooLarge):
		return &badMessageError{websocket.StatusMessageTooBig, "a text frame is too large; send input as binary frames"}
	case err != nil:
		return errClientGone
	case !utf8.Valid(text):
		return &badMessageError{websocket.StatusInvalidFramePayloadData, "a text frame is not valid UTF-8; send bytes as binary frames"}
	case !json.Valid(text):
		return &badMessageError{websocket.StatusInvalidFramePayloadData, "a text frame is not JSON; send input as binary frames"}
	}
	var parsed any
	if err := unmarshal(text, &parsed); err != nil {
		return k.complain("", badRequest(withoutGo(err.Error())))
	}
	fields, _ := parsed.(map[string]any)
	kind, _ := fields["type"].(string)
	schema := k.s.commandFrames[kind]
	if schema == nil || kind == "start" || kind == "connect" {
		const msg = "must be resize, signal, end or ping; only the first frame of a new command is start or connect"
		return k.complain("", badRequest("type: "+msg, FieldIssue{"type", msg}))
	}
	if err := k.s.validate(schema, parsed); err != nil {
		return k.refuse(ctx, "", err)
	}
	if kind == "ping" {
		return k.send(FrameHead{Type: "pong"})
	}
	if err := k.of.Send(ctx, messageOf(kind, text)); err != nil {
		return k.refuse(ctx, "", err)
	}
	return nil
}

// messageOf is the message of a frame that its schema has accepted.
func messageOf(kind string, text []byte) (m job.CommandMessage) {
	switch kind {
	case "resize":
		var f resizeFrame
		_ = json.Unmarshal(text, &f)
		m.Size = f.size()
	case "signal":
		var f signalFrame
		_ = json.Unmarshal(text, &f)
		m.Signal = f.Signal
	case "end":
		m.EOF = true
	}
	return m
}
