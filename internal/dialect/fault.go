package dialect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Fault is an error in words that every protocol can use.
type Fault struct {
	Status  int    // of HTTP
	Code    string // as the codes of problems: docs/api/problems.md
	Message string
	// RetryAfter is when the same request may succeed; 0 if it is not known.
	RetryAfter time.Duration
	// Unforeseen: the error is to be logged, and its text must not reach the caller.
	Unforeseen bool
}

func (f *Fault) Error() string { return f.Message }

// statusClientClosed is what the access log shows for a caller who went away.
const statusClientClosed = 499

// NewFault returns a fault.
func NewFault(status int, code, format string, args ...any) *Fault {
	return &Fault{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// FaultOf words an error of the service. It notes the code in the call, for the access log and the metrics, and logs
// what is unforeseen.
func FaultOf(ctx context.Context, log *slog.Logger, err error) *Fault {
	f := faultOf(service.OfKey(ctx, err))
	if f.Unforeseen && log != nil {
		log.ErrorContext(ctx, "request failed", slog.Any("err", err))
	}
	service.CallOf(ctx).Problem = f.Code
	return f
}

// SetRetryAfter sets the header that says when to try again, if that is known.
func (f *Fault) SetRetryAfter(h http.Header) {
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int((f.RetryAfter+time.Second-1)/time.Second))))
	}
}

func faultOf(err error) *Fault {
	if own, ok := errors.AsType[*Fault](err); ok {
		return own
	}
	for _, of := range []func(error) *Fault{doorFault, sessionFault, commandFault, scarceFault} {
		if f := of(err); f != nil {
			return f
		}
	}
	switch {
	case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		return NewFault(http.StatusNotFound, "not_found", "not found")
	case errors.Is(err, job.ErrNoFile):
		return NewFault(http.StatusNotFound, "file_not_found", "no such file")
	case errors.Is(err, job.ErrFinished):
		return NewFault(http.StatusConflict, "already_finished", "it has already ended")
	case errors.Is(err, context.Canceled):
		return NewFault(statusClientClosed, "client_closed", "the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return NewFault(http.StatusGatewayTimeout, "timeout", "it did not end in time")
	case errors.Is(err, service.ErrStopping), errors.Is(err, service.ErrStarting):
		f := NewFault(http.StatusServiceUnavailable, "draining", "this process is starting or being stopped; try again")
		f.RetryAfter = time.Second
		return f
	case errors.Is(err, job.ErrUnavailable), errors.Is(err, service.ErrFileStore), errors.Is(err, job.ErrStoreFull):
		f := NewFault(http.StatusServiceUnavailable, "unavailable", "a store that Kaa needs does not answer, or is full; try again")
		f.RetryAfter, f.Unforeseen = time.Second, true
		return f
	}
	f := NewFault(http.StatusInternalServerError, "internal", "internal error; it has been logged")
	f.Unforeseen = true
	return f
}

// doorFault words what a request is refused for before it is looked at.
func doorFault(err error) *Fault {
	body, rate, scope := (*service.BodyError)(nil), (*service.RateError)(nil), (*service.ScopeError)(nil)
	invalid := (*job.ValidationError)(nil)
	switch {
	case errors.As(err, &body):
		return bodyFault(body)
	case errors.As(err, &rate):
		f := NewFault(http.StatusTooManyRequests, "rate_limited", "this API key sends more requests than it may; send them more slowly")
		f.RetryAfter = rate.After
		return f
	case errors.As(err, &invalid):
		return NewFault(http.StatusBadRequest, "invalid_request", "%s", invalid.Error())
	case errors.Is(err, service.ErrUnauthorized):
		return NewFault(http.StatusUnauthorized, "unauthorized", "the API key is missing, unknown or expired")
	case errors.Is(err, service.ErrProvider):
		f := NewFault(http.StatusServiceUnavailable, "provider_unavailable", "the identity provider does not answer; try again")
		f.RetryAfter = time.Second
		return f
	case errors.As(err, &scope):
		return NewFault(http.StatusForbidden, "scope_missing", "this API key lacks the scope %s", scope.Need)
	case errors.Is(err, service.ErrOrigin):
		return NewFault(http.StatusForbidden, "origin_refused", "pages of this origin may not do this; the operator can allow it with KAA_ALLOWED_ORIGINS")
	case errors.Is(err, service.ErrHost):
		return NewFault(http.StatusMisdirectedRequest, "host_refused", "this Kaa does not answer to the name in the Host header; the operator can name it in KAA_ALLOWED_HOSTS")
	case errors.Is(err, service.ErrTenant):
		return NewFault(http.StatusBadRequest, "invalid_request", "header Kaa-Tenant: %s", err.Error())
	}
	return nil
}

func bodyFault(e *service.BodyError) *Fault {
	switch e.Fault {
	case service.BodyTooLarge:
		return NewFault(http.StatusRequestEntityTooLarge, "body_too_large", "the request body is larger than %d bytes; send less", e.Limit)
	case service.BodySlow:
		return NewFault(http.StatusRequestTimeout, "body_timeout", "the request body did not arrive in time")
	case service.BodyEncoded:
		return NewFault(http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body without Content-Encoding")
	case service.BodyNotText:
		return NewFault(http.StatusBadRequest, "invalid_request", "the request body is not valid UTF-8")
	case service.BodyNotGzip:
		return NewFault(http.StatusBadRequest, "invalid_request", "the request body is not what Content-Encoding: gzip says")
	case service.BodyCut:
	}
	return NewFault(http.StatusBadRequest, "invalid_request", "the request body ended early")
}

// scarceFault words what there is no more of.
func scarceFault(err error) *Fault {
	busy, full, lanes := (*service.BusyError)(nil), (*job.FullError)(nil), (*job.LanesError)(nil)
	files, room := (*job.FilesFullError)(nil), (*job.SessionRoomError)(nil)
	after := func(status int, code, message string, d time.Duration) *Fault {
		f := NewFault(status, code, "%s", message)
		f.RetryAfter = d
		return f
	}
	switch {
	case errors.As(err, &busy):
		return after(http.StatusTooManyRequests, "too_many_"+string(busy.Of), busy.Error(), time.Second)
	case errors.As(err, &full):
		return after(http.StatusTooManyRequests, "queue_full", full.Error(), 5*time.Second)
	case errors.As(err, &lanes):
		return after(http.StatusTooManyRequests, "too_many_at_once", lanes.Error(), time.Second)
	case errors.As(err, &files):
		return after(http.StatusTooManyRequests, string(files.Code()), files.Error(), time.Minute)
	case errors.As(err, &room):
		return after(http.StatusTooManyRequests, string(room.Code()), room.Error(), 5*time.Second)
	case errors.Is(err, job.ErrNoMemory):
		return after(http.StatusServiceUnavailable, "too_many_results", "the process holds as many bytes of results as it may; try again", time.Second)
	case errors.Is(err, service.ErrNoRunner), errors.Is(err, service.ErrNoSlot), errors.Is(err, service.ErrPaused), errors.Is(err, service.ErrKeyBusy), errors.Is(err, job.ErrNoRunner):
		return after(http.StatusServiceUnavailable, "no_runner", "no runner had room for it in time; try again", 5*time.Second)
	}
	return nil
}

// sessionFault words the state of a session.
func sessionFault(err error) *Fault {
	ended, full, runtime := (*job.SessionEndedError)(nil), (*job.SessionsFullError)(nil), (*job.RuntimeError)(nil)
	end := (*service.EndError)(nil)
	switch {
	case errors.As(err, &end):
		return endFault(end)
	case errors.As(err, &ended):
		return NewFault(http.StatusGone, "session_ended", "the session has ended: %s", ended.Message)
	case errors.Is(err, job.ErrNoSession):
		return NewFault(http.StatusNotFound, "session_not_found", "no session of this API key has this id")
	case errors.Is(err, service.ErrNoContext):
		return NewFault(http.StatusNotFound, "context_not_found", "the session has no such context")
	case errors.As(err, &full) && full.OfCaller:
		return NewFault(http.StatusTooManyRequests, "too_many_sessions", "%s", full.Error())
	case errors.As(err, &full):
		f := NewFault(http.StatusServiceUnavailable, "sessions_full", "%s", full.Error())
		f.RetryAfter = 5 * time.Second
		return f
	case errors.Is(err, job.ErrSessionPaused):
		return NewFault(http.StatusConflict, "session_paused", "the session is paused")
	case errors.Is(err, service.ErrSessionBusy):
		f := NewFault(http.StatusServiceUnavailable, "session_busy", "what the session had to do before took too long; try again")
		f.RetryAfter = time.Second
		return f
	case errors.As(err, &runtime):
		return NewFault(http.StatusForbidden, "runtime_not_allowed", "%s", runtime.Error())
	case errors.Is(err, job.ErrOldRunner):
		return NewFault(http.StatusConflict, "old_runner", "the session lives on a runner of an older release, which cannot do this; open a new session")
	}
	return nil
}

// endFault words the end of a job that has no result.
func endFault(e *service.EndError) *Fault {
	code := job.FailureCode("cancelled")
	if e.Job.Failure != nil {
		code = e.Job.Failure.Code
	}
	status := http.StatusServiceUnavailable
	switch code { //nolint:exhaustive // others are of the process
	case job.FailSessionEnded:
		status = http.StatusGone
	case job.FailRunnerLost:
		status = http.StatusBadGateway
	case job.FailRefused, job.FailTooLarge, job.FailFileExists, job.FailNotDirectory, job.FailIsDirectory, job.FailNotEmpty, job.FailCancelled:
		status = http.StatusConflict
	case job.FailFileDenied:
		status = http.StatusForbidden
	case job.FailNoFile, job.FailNoCheckpoint, job.FailNoContext:
		status = http.StatusNotFound
	case job.FailDisk:
		status = http.StatusInsufficientStorage
	case job.FailTooManySessions, job.FailSessionMemory, job.FailSessionDisk, job.FailTooManyPaused, job.FailFilesFull, job.FailBytesFull, job.FailTooManyContexts:
		status = http.StatusTooManyRequests
	}
	return NewFault(status, string(code), "%s", e.Error())
}

// commandFault words what a command does not take.
func commandFault(err error) *Fault {
	switch {
	case errors.Is(err, job.ErrCommandEnded):
		return NewFault(http.StatusConflict, "command_ended", "the command has ended")
	case errors.Is(err, job.ErrNoTerminal):
		return NewFault(http.StatusConflict, "no_terminal", "the command has no terminal, so it has no size")
	case errors.Is(err, job.ErrInputEnded):
		return NewFault(http.StatusConflict, "input_ended", "the end of the command's input was sent before")
	case errors.Is(err, job.ErrInputFull):
		f := NewFault(http.StatusTooManyRequests, "input_full", "the command has not read as much input as may wait for it")
		f.RetryAfter = time.Second
		return f
	case errors.Is(err, service.ErrNotAttached), errors.Is(err, service.ErrFellBehind):
		return NewFault(http.StatusServiceUnavailable, "not_attached", "%s", err.Error())
	}
	return nil
}
