package e2b

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// binaryServer answers in both forms, as the handlers of envd do: Stat names the path that it is asked for, Start puts out
// its arguments, and StreamInput fails with what it has got.
func binaryServer(t *testing.T) *httptest.Server {
	t.Helper()
	options := []connect.HandlerOption{connect.WithCodec(jsonCodec{}), connect.WithCodec(&binaryCodec{}), connect.WithReadMaxBytes(mostMessage)}
	mux := http.NewServeMux()
	mux.Handle("/Stat", connect.NewUnaryHandlerSimple("/Stat", func(_ context.Context, r *pathRequest) (*entryAnswer, error) {
		return &entryAnswer{entryInfo{Name: r.Path, Type: typeFile}}, nil
	}, options...))
	mux.Handle("/Start", connect.NewServerStreamHandlerSimple("/Start", func(_ context.Context, r *startRequest, to *connect.ServerStream[processEvent]) error {
		for _, text := range r.Process.Args {
			var e processEvent
			e.Event.Data = &dataEvent{Stdout: []byte(text)}
			if err := to.Send(&e); err != nil {
				return err
			}
		}
		return connect.NewError(connect.CodeNotFound, io.ErrUnexpectedEOF)
	}, options...))
	mux.Handle("/StreamInput", connect.NewClientStreamHandlerSimple("/StreamInput", func(_ context.Context, from *connect.ClientStream[streamInput]) (*empty, error) {
		got := ""
		for from.Receive() {
			if m := from.Msg(); m.Data != nil {
				got += string(m.Data.Input.Stdin)
			} else if m.Start != nil && m.Start.Process.PID != nil {
				got += "start "
			}
		}
		if from.Err() != nil {
			return nil, from.Err()
		}
		return nil, connect.NewError(connect.CodeAborted, &textError{got})
	}, options...))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

type textError struct{ text string }

func (e *textError) Error() string { return e.text }

// TestBinaryConnect: the client of connect-go, with the messages of Go's implementation of Protocol Buffers, speaks with the handlers.
func TestBinaryConnect(t *testing.T) {
	t.Parallel()
	server, file := binaryServer(t), envdFile(t)
	of := func(name string) *dynamicpb.Message {
		return dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
	}
	set := func(m *dynamicpb.Message, name string, value any) *dynamicpb.Message {
		m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(value))
		return m
	}
	client := func(path, answer string) *connect.Client[dynamicpb.Message, dynamicpb.Message] {
		return connect.NewClient[dynamicpb.Message, dynamicpb.Message](server.Client(), server.URL+path, connect.WithResponseInitializer(func(_ connect.Spec, message any) error {
			*message.(*dynamicpb.Message) = *of(answer)
			return nil
		}))
	}
	answer, err := client("/Stat", "EntryAnswer").CallUnary(t.Context(), connect.NewRequest(set(of("PathRequest"), "path", "/é")))
	if err != nil || !strings.Contains(answer.Msg.String(), "/é") || answer.Header().Get("Content-Type") != "application/proto" {
		t.Errorf("unary: %v %v", answer, err)
	}
	config := of("Config")
	args := config.Mutable(config.Descriptor().Fields().ByName("args")).List()
	args.Append(protoreflect.ValueOf("one"))
	args.Append(protoreflect.ValueOf("two"))
	events, err := client("/Start", "ProcessEvent").CallServerStream(t.Context(), connect.NewRequest(set(of("StartRequest"), "process", config.ProtoReflect())))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for events.Receive() {
		got += events.Msg().String() + " "
	}
	if !strings.Contains(got, "one") || !strings.Contains(got, "two") || connect.CodeOf(events.Err()) != connect.CodeNotFound || events.ResponseHeader().Get("Content-Type") != "application/connect+proto" {
		t.Errorf("a stream of answers: %s %v %v", got, events.Err(), events.ResponseHeader())
	}
	input := client("/StreamInput", "Empty").CallClientStream(t.Context())
	first := set(of("StreamInput"), "start", set(of("SelectRequest"), "process", set(of("Selector"), "pid", uint32(7)).ProtoReflect()).ProtoReflect())
	then := set(of("StreamInput"), "data", set(of("StreamData"), "input", set(of("Input"), "stdin", []byte("text")).ProtoReflect()).ProtoReflect())
	for _, m := range []*dynamicpb.Message{first, then} {
		if err := input.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := input.CloseAndReceive(); connect.CodeOf(err) != connect.CodeAborted || !strings.Contains(err.Error(), "start text") {
		t.Errorf("a stream of requests: %v", err)
	}
}

// TestBinaryEnvelopes: bodies that are no messages get an error of the protocol.
func TestBinaryEnvelopes(t *testing.T) {
	t.Parallel()
	server := binaryServer(t)
	envelope := func(flags byte, size uint32, content string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flags}, size)) + content
	}
	for name, tt := range map[string]struct{ path, kind, body, code string }{
		"a unary body that ends early":      {"/Stat", "application/proto", "\x0a\x05ab", "invalid_argument"},
		"a unary body that is JSON":         {"/Stat", "application/proto", `{"path": "a"}`, "invalid_argument"},
		"a unary body that is too large":    {"/Stat", "application/proto", strings.Repeat("\x9a\x06\x00", mostMessage/3+1), "resource_exhausted"},
		"a length beyond the end":           {"/StreamInput", "application/connect+proto", envelope(0, 100, "\x0a\x00"), "internal"},
		"a length of 4 GiB":                 {"/StreamInput", "application/connect+proto", envelope(0, 1<<32-1, ""), "resource_exhausted"},
		"a length that cuts the message":    {"/StreamInput", "application/connect+proto", envelope(0, 3, "\x0a\x05abcde"), "invalid_argument"},
		"compressed, without a coding":      {"/StreamInput", "application/connect+proto", envelope(1, 2, "\x0a\x00"), "internal"},
		"half a head":                       {"/StreamInput", "application/connect+proto", "\x00\x00", "internal"},
		"a message of text in a binary one": {"/StreamInput", "application/connect+proto", envelope(0, 2, "{}"), "invalid_argument"},
		"unknown fields":                    {"/StreamInput", "application/connect+proto", envelope(0, 4, "\x9a\x06\x01x"), "aborted"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.kind)
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || !strings.Contains(string(body), `"code":"`+tt.code+`"`) {
			t.Errorf("%s: %d %q %v", name, res.StatusCode, body, err)
		}
	}
}
