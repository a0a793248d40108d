package interpreter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// resultOverhead is what a result counts for beside its text; display.py counts alike.
	resultOverhead = 256
	// maxForms bounds the forms of one result, and the length of their MIME types.
	maxForms    = 32
	maxMIMEType = 200
	// maxDepth is how deep a form may be nested. Callers read results as part of JSON of
	// their own, and parsers have bounds.
	maxDepth = 100
	// parseTime is what reading all results of an execution may take, on a busy machine.
	parseTime = 10 * time.Second
)

// results keeps what the code of an execution shows, within a budget of bytes. The worker
// keeps to it; what comes beyond is the code's own and is counted, no more.
type results struct {
	room    int64
	kept    []job.Value
	dropped int
}

func newResults(budget int64) results { return results{room: budget} }

// keep returns what takes the result frames of an execution, and its requests for input, and
// passes on to those who watch what is kept of them.
func (r *run) keep(tap *job.Tap) func(frame) error {
	return func(f frame) error {
		if f.Type == frameInput {
			return r.ask(f, tap)
		}
		before := len(r.results.kept)
		err := r.results.add(f)
		for _, v := range r.results.kept[before:] {
			tap.Value(v)
		}
		return err
	}
}

// add takes a result frame. An errFrame is for one that our script does not send.
func (rs *results) add(f frame) error {
	value := job.Value{Main: f.Main, Data: map[string]json.RawMessage{}, Omitted: map[string]int64{}}
	size := int64(resultOverhead)
	err := eachMember(f.Omitted, func(mime string, text json.RawMessage) error {
		n, err := strconv.ParseInt(string(text), 10, 64)
		value.Omitted[mime] = n
		return err
	})
	if err != nil {
		return err
	}
	err = eachMember(f.Data, func(mime string, text json.RawMessage) error {
		if !tidy(text) {
			value.Omitted[mime] = int64(len(text))
			return nil
		}
		size += int64(len(mime) + len(text))
		value.Data[mime] = text
		return nil
	})
	switch {
	case err != nil:
		return err
	case size > rs.room || len(value.Data) == 0:
		rs.dropped++
		return nil
	}
	if len(value.Omitted) == 0 {
		value.Omitted = nil
	}
	rs.room -= size
	rs.kept = append(rs.kept, value)
	return nil
}

// eachMember calls f for the members of a JSON object of ASCII characters by MIME type.
// It looks at no more than maxForms, so that what it makes of a text is not much larger.
func eachMember(object json.RawMessage, f func(mime string, value json.RawMessage) error) error {
	if object == nil {
		return nil
	}
	bad := fmt.Errorf("%w: malformed result", errFrame)
	for _, c := range object {
		if c < ' ' || c > '~' {
			return bad
		}
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return bad
	}
	for n := 0; dec.More(); n++ {
		key, err := dec.Token()
		mime, ok := key.(string)
		if err != nil || !ok || n == maxForms || len(mime) > maxMIMEType {
			return bad
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil || f(mime, value) != nil {
			return bad
		}
	}
	return nil
}

// tidy replaces, in JSON of ASCII characters, escapes that are no characters: halves of
// surrogate pairs. It reports false for what is nested too deeply.
func tidy(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i += escape(text[i:])
		case !quoted && (c == '[' || c == '{'):
			if depth++; depth > maxDepth {
				return false
			}
		case !quoted && (c == ']' || c == '}'):
			depth--
		}
	}
	return true
}

// escape returns how many bytes belong to the escape at the start of text, after its
// backslash. It overwrites half a surrogate pair.
func escape(text []byte) int {
	const first = len(`\ud83d`)
	switch unit := utf16Unit(text); {
	case unit < 0:
		return 1
	case unit < 0xD800 || unit > 0xDFFF:
		return first - 1
	case unit < 0xDC00:
		if low := utf16Unit(text[first:]); low >= 0xDC00 && low <= 0xDFFF {
			return 2*first - 1
		}
	}
	copy(text, `\ufffd`)
	return first - 1
}

// utf16Unit returns what the \uXXXX at the start of text stands for, or -1.
func utf16Unit(text []byte) int {
	if len(text) < len(`\ud83d`) || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(unit)
}
