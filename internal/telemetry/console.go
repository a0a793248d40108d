package telemetry

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// console writes a short line for each record: the time of day, the level, the message and the
// attributes. The line of a request begins in the usual short form: POST /path 200 2.1ms.
type console struct {
	out   *lockedWriter
	level slog.Leveler
	own   []slog.Attr
	group string // prefix of the keys
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func newConsole(w io.Writer, level slog.Leveler) *console {
	return &console{out: &lockedWriter{w: w}, level: level}
}

// RequestMessage is the message of the line about a request. The console begins that line with
// method, path, status and duration.
const RequestMessage = "request"

func (c *console) Enabled(_ context.Context, l slog.Level) bool { return l >= c.level.Level() }

func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *c
	for _, a := range attrs {
		a.Key = c.group + a.Key
		with.own = append(slices.Clip(with.own), a)
	}
	return &with
}

func (c *console) WithGroup(name string) slog.Handler {
	with := *c
	with.group += name + "."
	return &with
}

func (c *console) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clone(c.own)
	r.Attrs(func(a slog.Attr) bool {
		a.Key = c.group + a.Key
		attrs = append(attrs, a)
		return true
	})
	b := make([]byte, 0, 256)
	b = r.Time.AppendFormat(b, "15:04:05.000 ")
	b = append(b, (r.Level.String() + "     ")[:6]...)
	if r.Message == RequestMessage {
		b, attrs = appendRequest(b, attrs)
	} else {
		b = append(b, r.Message...)
	}
	for _, a := range attrs {
		b = appendAttr(b, a)
	}
	b = append(b, '\n')
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	_, err := c.out.w.Write(b)
	return err //nolint:wrapcheck // slog ignores it
}

// appendRequest begins the line about a request, and returns the remaining attributes.
func appendRequest(b []byte, attrs []slog.Attr) ([]byte, []slog.Attr) {
	for i, key := range []string{"method", "path", "status", "duration"} {
		at := slices.IndexFunc(attrs, func(a slog.Attr) bool { return a.Key == key })
		if at < 0 {
			continue
		}
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, plain(withUnit(nil, attrs[at]).Value.String())...)
		if key == "duration" {
			b = append(b, "ms"...)
		}
		attrs = slices.Delete(attrs, at, at+1)
	}
	// A console belongs to one person and one process. The remaining attributes matter only in a
	// fleet.
	return b, slices.DeleteFunc(attrs, func(a slog.Attr) bool {
		return a.Key == "process" || a.Key == "route" || a.Key == "client" || a.Key == "request_bytes" || a.Key == "response_bytes"
	})
}

func appendAttr(b []byte, a slog.Attr) []byte {
	a.Value = a.Value.Resolve()
	a = withUnit(nil, a)
	if a.Equal(slog.Attr{}) || a.Key == "process" {
		return b
	}
	if a.Value.Kind() == slog.KindString && a.Value.String() == "" {
		return b // there is none
	}
	if a.Value.Kind() == slog.KindGroup {
		for _, inner := range a.Value.Group() {
			inner.Key = a.Key + "." + inner.Key
			b = appendAttr(b, inner)
		}
		return b
	}
	b = append(append(append(b, ' '), a.Key...), '=')
	return append(b, plain(a.Value.String())...)
}

// plain quotes a value that would not be one word of the line.
func plain(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r == '"' || unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
