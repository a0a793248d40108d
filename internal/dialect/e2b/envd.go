package e2b

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// jsonCodec has the messages as Go types with the JSON of proto3, which the SDKs send.
type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Marshal(message any) ([]byte, error) { return json.Marshal(message) }

func (jsonCodec) Unmarshal(text []byte, message any) error {
	if len(text) == 0 {
		return nil // all fields may be absent
	}
	return dialect.Unmarshal(text, message)
}

// mostMessage is the largest message of a stream of the client: input for a process.
const mostMessage = 4 << 20

// envd adds the services of the daemon of a sandbox.
func (d *Dialect) envd() {
	options := []connect.HandlerOption{connect.WithCodec(jsonCodec{}), connect.WithCodec(&binaryCodec{}), connect.WithReadMaxBytes(mostMessage)}
	d.process(options)
	d.filesystem(options)
	d.mux.HandleFunc("POST /files", d.files(d.upload))
	d.mux.HandleFunc("GET /files", d.files(d.download))
}

// isConnect reports whether a path is of a service of Connect.
func isConnect(path string) bool {
	return strings.HasPrefix(path, processPath) || strings.HasPrefix(path, filesystemPath)
}

// target is the sandbox of a call.
type target struct {
	caller  service.Caller
	session string
}

type targetKey struct{}

// rpc mounts a method. Its handler finds the target in the context.
func (d *Dialect) rpc(path, operation string, h http.Handler) {
	d.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation = path, operation
		session, err := d.targetOfRequest(r)
		if err != nil {
			d.answer(w, r, err)
			return
		}
		if user, _, ok := r.BasicAuth(); ok && !isUser(user) {
			d.answer(w, r, connect.NewError(connect.CodeUnauthenticated, errors.New("invalid username: '"+clipped(user)+"'")))
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), targetKey{}, target{service.CallerOf(r.Context()), session}))
		h.ServeHTTP(w, r)
	})
}

// isUser reports whether a name is one of the user of a sandbox: root is the same one.
func isUser(name string) bool { return name == "" || name == "user" || name == "root" }

func targetOf(ctx context.Context) target {
	t, _ := ctx.Value(targetKey{}).(target)
	return t
}

// unary mounts a method that has one answer.
func unary[Req, Res any](d *Dialect, path, operation string, options []connect.HandlerOption, h func(context.Context, target, *Req) (*Res, error)) {
	d.rpc(path, operation, connect.NewUnaryHandlerSimple(path, func(ctx context.Context, request *Req) (*Res, error) {
		answer, err := h(ctx, targetOf(ctx), request)
		if err != nil {
			return nil, d.rpcError(ctx, err)
		}
		return answer, nil
	}, options...))
}

// streaming mounts a method that has a stream of answers. first is sent when the stream is about to break.
func streaming[Req, Res any](d *Dialect, path, operation string, options []connect.HandlerOption, h func(context.Context, target, *Req, *connect.ServerStream[Res]) error) {
	d.rpc(path, operation, connect.NewServerStreamHandlerSimple(path, func(ctx context.Context, request *Req, to *connect.ServerStream[Res]) error {
		err := h(ctx, targetOf(ctx), request, to)
		if errors.Is(err, errBroken) {
			panic(http.ErrAbortHandler) // the SDKs take a clean end for success
		}
		if err != nil {
			return d.rpcError(ctx, err)
		}
		return nil
	}, options...))
}

// errBroken: the sandbox has ended while a stream was under way.
var errBroken = errors.New("the sandbox has ended")

// rpcError words an error for Connect.
func (d *Dialect) rpcError(ctx context.Context, err error) *connect.Error {
	if own, ok := errors.AsType[*connect.Error](err); ok {
		service.CallOf(ctx).Problem = own.Code().String()
		return own
	}
	if isAway(err) {
		service.CallOf(ctx).Problem = errNotFound.Code
		return connect.NewError(connect.CodeUnavailable, errors.New(errNotFound.Message))
	}
	f := dialect.FaultOf(ctx, d.log, err)
	return connect.NewError(codeOf(f), errors.New(f.Message))
}

// codeOf is the code of Connect for a fault.
func codeOf(f *dialect.Fault) connect.Code {
	switch f.Code {
	case string(job.FailFileExists):
		return connect.CodeAlreadyExists
	case string(job.FailNotDirectory), string(job.FailIsDirectory):
		return connect.CodeInvalidArgument
	case "no_such_route", "unsupported_media_type":
		return connect.CodeUnimplemented
	}
	switch f.Status {
	case http.StatusBadRequest:
		return connect.CodeInvalidArgument
	case http.StatusUnauthorized:
		return connect.CodeUnauthenticated
	case http.StatusForbidden:
		return connect.CodePermissionDenied
	case http.StatusNotFound:
		return connect.CodeNotFound
	case http.StatusConflict:
		return connect.CodeFailedPrecondition
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return connect.CodeResourceExhausted
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return connect.CodeDeadlineExceeded
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGone:
		return connect.CodeUnavailable
	case statusClientClosed:
		return connect.CodeCanceled
	}
	return connect.CodeInternal
}

const statusClientClosed = 499

// refuseRPC answers a call of Connect that has no handler, or does not pass the door.
func (d *Dialect) refuseRPC(w http.ResponseWriter, r *http.Request, err error) {
	words := d.rpcError(r.Context(), err)
	writer := connect.NewErrorWriter()
	if writer.IsSupported(r) {
		_ = writer.Write(w, r, words)
		return
	}
	dialect.WriteJSON(w, http.StatusNotFound, map[string]string{"code": words.Code().String(), "message": words.Message()})
}

// keepAlive is the time of silence after which a stream says that it lives.
func keepAlive(h http.Header) time.Duration {
	const usual, least = 90 * time.Second, time.Second
	d, err := time.ParseDuration(h.Get("Keepalive-Ping-Interval") + "s")
	if err != nil || d < least || d > usual {
		return usual
	}
	return d
}
