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
	// resultOverhead is the size that a result counts beside its text. display.py has the same.
	resultOverhead = 256
	// maxForms bounds the forms of one result, and the length of their MIME types.
	maxForms    = 32
	maxMIMEType = 200
	// maxDisplayID bounds a display id of 200 characters, in bytes.
	maxDisplayID = 4 * 200
	// maxDepth bounds the nesting of a form. Callers read results as part of other JSON, and
	// parsers bound the nesting.
	maxDepth = 100
)

// results keeps the values that an execution shows, within a budget of bytes. The worker script
// keeps to the same budget. So only executed code sends values beyond it, which results only
// counts.
type results struct {
	budget, room int64
	kept         []job.Value
	sizes        []int64 // the part of the budget that each value takes
	dropped      int
	clearing     bool // the next output takes back everything before it
}

func newResults(budget int64) results { return results{budget: budget, room: budget} }

// forget takes back all values.
func (rs *results) forget() {
	rs.room, rs.kept, rs.sizes, rs.dropped, rs.clearing = rs.budget, nil, nil, 0, false
}

// put keeps a value if there is room for its size. isNew is false for an update that replaced
// other values.
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

// ValueOf returns the value in a result frame, and the size that it takes of the budget.
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

// put puts a member into a map. It makes the map first if it is nil.
func put[V any](to *map[string]V, name string, value *V) {
	if *to == nil {
		*to = map[string]V{}
	}
	(*to)[name] = *value
}

// sizes returns a function that stores members that are numbers.
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
// It accepts at most maxForms members, so that the decoded result is not much larger than the text.
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

// tidy replaces escapes in JSON that are no characters, which are halves of surrogate pairs. It
// returns false for JSON that is nested too deeply.
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

// utf16Unit returns the code unit of the \uXXXX at the start of text; -1 if there is none.
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
