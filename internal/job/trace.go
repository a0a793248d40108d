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
	// Dialect is the protocol of the request; empty for Kaa's own.
	Dialect string `json:"dialect,omitempty"`
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

// The bounds of a tracestate that W3C Trace Context sets.
const (
	maxTracestate   = 512
	maxStateMembers = 32
	maxStateValue   = 256
)

// Tracestate returns the tracestate of a header's values, which form one list; an empty string if
// they are none that W3C Trace Context allows.
func Tracestate(values []string) string {
	size := 0
	for _, v := range values {
		size += len(v) + 1
	}
	if size == 0 || size-1 > maxTracestate {
		return ""
	}
	state := strings.Join(values, ",")
	seen := make(map[string]bool)
	for member := range strings.SplitSeq(state, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue // the list may have empty members
		}
		key, value, ok := strings.Cut(member, "=")
		if !ok || !isStateKey(key) || !isStateValue(value) || seen[key] || len(seen) == maxStateMembers {
			return ""
		}
		seen[key] = true
	}
	if len(seen) == 0 {
		return ""
	}
	return state
}

// isStateKey accepts a name of a system, or of a tenant of one: tenant@system.
func isStateKey(key string) bool {
	const lower, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	tenant, system, multi := strings.Cut(key, "@")
	name := func(s, first string, longest int) bool {
		return s != "" && len(s) <= longest && strings.IndexByte(first, s[0]) >= 0 && strings.Trim(s, lower+digits+"_-*/") == ""
	}
	if multi {
		return name(tenant, lower+digits, 241) && name(system, lower, 14)
	}
	return name(key, lower, 256)
}

// isStateValue accepts printable ASCII characters that are no separators.
func isStateValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return value != "" && len(value) <= maxStateValue
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
