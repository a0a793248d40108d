package job

import (
	"context"
	"strings"
)

// Trace identifies the request that caused some work, in the logs of all processes. It is the
// caller's word, checked for its form: it proves nothing.
type Trace struct {
	RequestID string `json:"requestId,omitempty"`
	// Parent is the caller's traceparent of W3C Trace Context; empty without tracing.
	Parent string `json:"traceparent,omitempty"`
}

// The parts of a traceparent: version, trace id, parent id and flags in hexadecimal digits.
const (
	traceparentLength = 55
	traceIDAt         = 3
	parentIDAt        = 36
	flagsAt           = 53
)

// TraceID returns the id of the trace, or an empty string.
func (t Trace) TraceID() string {
	if len(t.Parent) < traceparentLength {
		return ""
	}
	return t.Parent[traceIDAt : parentIDAt-1]
}

// maxRequestID is the longest id of a request.
const maxRequestID = 128

// ValidRequestID reports whether a caller's request id can be used: it is short, and has no
// characters with a meaning to a log, a shell or a terminal.
func ValidRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case strings.IndexByte("-._~:/+=@", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// ValidTraceparent reports whether the text is a traceparent of version 00.
func ValidTraceparent(p string) bool {
	return len(p) == traceparentLength && strings.HasPrefix(p, "00-") && p[parentIDAt-1] == '-' && p[flagsAt-1] == '-' &&
		isID(p[traceIDAt:parentIDAt-1]) && isID(p[parentIDAt:flagsAt-1]) && isHex(p[flagsAt:])
}

// isID accepts hexadecimal digits that are not all zero.
func isID(s string) bool { return isHex(s) && strings.Trim(s, "0") != "" }

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

type traceKey struct{}

// WithTrace returns a context for the work of that request.
func WithTrace(ctx context.Context, t Trace) context.Context {
	if t == (Trace{}) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace of the context; a zero Trace if it belongs to no request.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}
