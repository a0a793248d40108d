package capture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/protocol"
)

const (
	// resultOverhead is what a result counts for beside its text; display.py counts alike.
	resultOverhead = 256
	// maxForms bounds the forms of one result, and the length of their MIME types.
	maxForms    = 32
	maxMIMEType = 200
	// maxDisplayID bounds an id in bytes: of 200 characters.
	maxDisplayID = 4 * 200
	// maxDepth is how deep a form may be nested. Callers read results as part of JSON of
	// their own, and parsers have bounds.
	maxDepth = 100
)

// results has what the code of an execution shows keep to a budget of bytes. The worker
// keeps to it; what comes beyond is the code's own and is counted, no more.
type results struct {
	budget, room int64
	kept         []job.Value
	sizes        []int64 // what each of them takes of the budget
	dropped      int
	clearing     bool // with the next one
}

func newResults(budget int64) results { return results{budget: budget, room: budget} }

// forget takes back what has been shown.
func (rs *results) forget() {
	rs.room, rs.kept, rs.sizes, rs.dropped, rs.clearing = rs.budget, nil, nil, 0, false
}

// put keeps a value of a size, if there is room for it. isNew is false for one that took the
// place of others.
func (rs *results) put(value job.Value, size int64) (isKept, isNew bool) {
	var places []int
	room := rs.room
	for i, v := range rs.kept {
		if value.Update && v.DisplayID == value.DisplayID {
			places = append(places, i)
			room += rs.sizes[i]
		}
	}
	if room -= size * int64(max(1, len(places))); room < 0 || len(value.Data) == 0 {
		rs.dropped++
		return false, false
	}
	rs.room = room
	for _, i := range places {
		main := rs.kept[i].Main
		rs.kept[i], rs.sizes[i] = value, size
		rs.kept[i].Main, rs.kept[i].Update = main, false
	}
	if len(places) > 0 {
		return true, false
	}
	rs.kept, rs.sizes = append(rs.kept, value), append(rs.sizes, size)
	return true, true
}

// ValueOf returns what a result frame shows and what that takes of the budget.
func ValueOf(f protocol.Frame) (job.Value, int64, error) {
	value := job.Value{
		Main: f.Main, Data: map[string]json.RawMessage{}, Truncated: tableOf(f.Truncated),
		DisplayID: strings.ToValidUTF8(f.DisplayID, "\uFFFD"), Update: f.Update && f.DisplayID != "",
	}
	size := int64(resultOverhead)
	for _, part := range []struct {
		object json.RawMessage
		take   func(name string, text json.RawMessage) error
	}{
		{f.Omitted, sizes(&value.Omitted)},
		{f.Reduced, sizes(&value.Reduced)},
		{f.Errors, func(name string, text json.RawMessage) error {
			var message string
			put(&value.Errors, name, &message)
			err := json.Unmarshal(text, &message)
			put(&value.Errors, name, &message)
			return err
		}},
		{f.Metadata, func(name string, text json.RawMessage) error {
			if tidy(text) {
				put(&value.Metadata, name, &text)
			}
			return nil
		}},
		{f.Data, func(mime string, text json.RawMessage) error {
			if n := int64(len(text)); !tidy(text) {
				size -= n
				put(&value.Omitted, mime, &n)
				return nil
			}
			value.Data[mime] = text
			return nil
		}},
	} {
		err := eachMember(part.object, func(name string, text json.RawMessage) error {
			size += int64(len(name) + len(text))
			return part.take(name, text)
		})
		if err != nil {
			return job.Value{}, 0, err
		}
	}
	if len(f.DisplayID) > maxDisplayID {
		return job.Value{}, 0, fmt.Errorf("%w: malformed result", protocol.ErrFrame)
	}
	return value, size, nil
}

// put puts a member into a map that is there only if it has any.
func put[V any](to *map[string]V, name string, value *V) {
	if *to == nil {
		*to = map[string]V{}
	}
	(*to)[name] = *value
}

// sizes takes members that are numbers.
func sizes(to *map[string]int64) func(string, json.RawMessage) error {
	return func(name string, text json.RawMessage) error {
		n, err := strconv.ParseInt(string(text), 10, 64)
		put(to, name, &n)
		return err
	}
}

func tableOf(c *protocol.Cut) *job.Table {
	if c == nil {
		return nil
	}
	part := func(p *[2]int64) *job.Part {
		if p == nil {
			return nil
		}
		return &job.Part{Shown: p[0], Total: p[1]}
	}
	return &job.Table{Rows: part(c.Rows), Columns: part(c.Columns)}
}

// eachMember calls f for the members of a JSON object by MIME type.
// It looks at no more than maxForms, so that what it makes of a text is not much larger.
func eachMember(object json.RawMessage, f func(mime string, value json.RawMessage) error) error {
	if object == nil {
		return nil
	}
	bad := fmt.Errorf("%w: malformed result", protocol.ErrFrame)
	if !utf8.Valid(object) || bytes.ContainsFunc(object, unicode.IsControl) {
		return bad
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

// tidy replaces, in JSON, escapes that are no characters: halves of
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
