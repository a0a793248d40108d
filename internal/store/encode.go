package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// A result whose output has more than large bytes is encoded and sent beside at most largeAtOnce
// others. As JSON it may have tens of megabytes, and a process may have as many of them as
// sessions.
const (
	large       = 256 << 10
	largeAtOnce = 2
)

// awaitTurn returns when a result may be encoded and sent. Call the function that it returns
// afterwards.
func (s *Store) awaitTurn(ctx context.Context, o job.Outcome) (done func(), err error) {
	if o.Result == nil || len(o.Result.Stdout)+len(o.Result.Stderr) < large {
		return func() {}, nil
	}
	select {
	case s.large <- struct{}{}:
		return func() { <-s.large }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("finish job: %w: %w", job.ErrUnavailable, ctx.Err())
	}
}

// encodeResult returns a result as JSON. Its large part, the output, is written once, into
// memory of the exact size. Package json would take several times as much.
func encodeResult(r *job.Result) ([]byte, error) {
	rest := *r
	rest.Stdout, rest.Stderr = "", ""
	var small bytes.Buffer
	enc := json.NewEncoder(&small)
	enc.SetEscapeHTML(false) // six bytes for one, in results that are HTML
	if err := enc.Encode(&rest); err != nil {
		return nil, err
	}
	// Only the status precedes them, so these are the first fields of their names.
	text := bytes.TrimSuffix(small.Bytes(), []byte("\n"))
	all := make([]byte, 0, len(text)+escapedLen(r.Stdout)+escapedLen(r.Stderr))
	for _, s := range []struct{ name, text string }{{`"stdout":"`, r.Stdout}, {`"stderr":"`, r.Stderr}} {
		at := bytes.Index(text, []byte(s.name)) + len(s.name)
		all = appendEscaped(append(all, text[:at]...), s.text)
		text = text[at:]
	}
	return append(all, text...), nil
}

// escapes are the escape sequences of bytes that cannot stand for themselves in a string.
var escapes = func() (all [utf8.RuneSelf]string) { //nolint:gochecknoglobals // a constant
	for c := range ' ' {
		all[c] = fmt.Sprintf(`\u%04x`, c)
	}
	for c, text := range map[byte]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`} {
		all[c] = text
	}
	return all
}()

// escapedLen is the number of bytes that appendEscaped appends.
func escapedLen(s string) int {
	n := 0
	for i := 0; i < len(s); {
		size, escaped := escape(s[i:])
		if escaped == "" {
			n += size
		}
		n += len(escaped)
		i += size
	}
	return n
}

// appendEscaped appends the JSON form of a string, without the quotes.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		size, escaped := escape(s[i:])
		if escaped != "" {
			b = append(append(b, s[start:i]...), escaped...)
			start = i + size
		}
		i += size
	}
	return append(b, s[start:]...)
}

// escape returns the size of a string's first character, and its escape sequence if it needs
// one.
func escape(s string) (size int, escaped string) {
	if s[0] < utf8.RuneSelf {
		return 1, escapes[s[0]]
	}
	switch r, size := utf8.DecodeRuneInString(s); {
	case r == utf8.RuneError && size == 1:
		return 1, `\ufffd`
	case r == '\u2028': // line ends of JavaScript
		return size, `\u2028`
	case r == '\u2029':
		return size, `\u2029`
	default:
		return size, ""
	}
}
