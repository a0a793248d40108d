package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// marshal writes an answer. A small one is written faster at once.
func marshal(w io.Writer, v any) error {
	large := false
	switch v := v.(type) {
	case *job.Result:
		large = isLarge(v)
	case JobView:
		large = isLarge(v.Result)
	case listBody:
		large = isLargePage(v.Jobs)
	}
	if large {
		return encode(w, v)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v) //nolint:wrapcheck // of the connection, or it cannot be
}

// isLargePage reports whether a page of jobs may take more than some pieces: their metadata may.
func isLargePage(jobs []JobView) bool {
	size := len(jobs) << 9
	for i := range jobs {
		size += len(jobs[i].Metadata)
	}
	return size > 4*encodePiece
}

// isLarge reports whether a result may take more than some pieces.
func isLarge(r *job.Result) bool {
	if r == nil {
		return false
	}
	size := len(r.Stdout) + len(r.Stderr) + 1<<10*(len(r.Outputs)+len(r.Files)+len(r.Notices))
	if r.Error != nil {
		size += len(r.Error.Value) + len(r.Error.Traceback)
	}
	for i := range r.Cases {
		size += 1<<10 + len(r.Cases[i].Stdout) + len(r.Cases[i].Stderr)
	}
	for _, v := range r.Results {
		for _, form := range v.Data {
			size += len(form)
		}
	}
	return size > 4*encodePiece
}

// encode writes a value as encoding/json does, without escapes for HTML. That makes the whole
// text in memory first, twice while it grows; this one goes through the value and writes pieces.
// Only what takes part in large answers is taken apart: structs, lists, maps of texts, strings.
func encode(w io.Writer, v any) error {
	out := bufio.NewWriterSize(w, encodePiece)
	e := encoder{out: out}
	e.value(reflect.ValueOf(v))
	if e.err != nil {
		return e.err
	}
	if err := out.WriteByte('\n'); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return out.Flush() //nolint:wrapcheck // of the connection
}

// encodePiece is how much of a text is escaped at once.
const encodePiece = 16 << 10

type encoder struct {
	out *bufio.Writer
	err error
}

func (e *encoder) write(text string) {
	if e.err == nil {
		_, e.err = e.out.WriteString(text)
	}
}

// plain leaves a value to encoding/json.
func (e *encoder) plain(v reflect.Value) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v.Interface()); err != nil {
		e.err = fmt.Errorf("encode answer: %w", err)
		return
	}
	e.write(strings.TrimSuffix(text.String(), "\n"))
}

func (e *encoder) value(v reflect.Value) {
	if e.err != nil {
		return
	}
	switch {
	case v.IsValid() && v.Type() == reflect.TypeFor[json.RawMessage]() && v.Len() > 0:
		if e.err == nil { // the runner has checked it, and written it without blanks
			_, e.err = e.out.Write(v.Bytes())
		}
	case !v.IsValid() || v.Type().Implements(reflect.TypeFor[json.Marshaler]()) || v.Type().Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()):
		if !v.IsValid() {
			e.write("null")
			return
		}
		e.plain(v)
	case v.Kind() == reflect.Pointer && !v.IsNil():
		e.value(v.Elem())
	case v.Kind() == reflect.Struct:
		e.object(v)
	case v.Kind() == reflect.Slice && !v.IsNil() && v.Type().Elem().Kind() != reflect.Uint8:
		e.write("[")
		for i := range v.Len() {
			if i > 0 {
				e.write(",")
			}
			e.value(v.Index(i))
		}
		e.write("]")
	case v.Kind() == reflect.Map && !v.IsNil() && v.Type().Key().Kind() == reflect.String:
		e.entries(v)
	case v.Kind() == reflect.String && v.Len() > encodePiece:
		e.text(v.String())
	default:
		e.plain(v)
	}
}

// text writes a long string in pieces that end between characters.
func (e *encoder) text(s string) {
	e.write(`"`)
	for s != "" && e.err == nil {
		n := min(len(s), encodePiece)
		for back := 0; n < len(s) && back < utf8.UTFMax && !utf8.RuneStart(s[n]); back++ {
			n--
		}
		var piece bytes.Buffer
		enc := json.NewEncoder(&piece)
		enc.SetEscapeHTML(false)
		if e.err = enc.Encode(s[:n]); e.err != nil {
			return
		}
		text := piece.Bytes()
		_, e.err = e.out.Write(text[1 : len(text)-2]) // without quotes and the end of the line
		s = s[n:]
	}
	e.write(`"`)
}

func (e *encoder) entries(v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	e.write("{")
	for i, k := range keys {
		if i > 0 {
			e.write(",")
		}
		e.plain(k)
		e.write(":")
		e.value(v.MapIndex(k))
	}
	e.write("}")
}

// member is one field of a struct, or of one that is embedded in it.
type member struct {
	name    string // quoted, with the colon
	index   []int
	omitted func(reflect.Value) bool // says when it is left out; nil for never
}

func (e *encoder) object(v reflect.Value) {
	e.write("{")
	first := true
	for _, f := range membersOf(v.Type()) {
		at, err := v.FieldByIndexErr(f.index)
		if err != nil || f.omitted != nil && f.omitted(at) {
			continue // err: it is in a nil pointer
		}
		if !first {
			e.write(",")
		}
		first = false
		e.write(f.name)
		e.value(at)
	}
	e.write("}")
}

// knownMembers has the fields of the few types that there are.
var knownMembers sync.Map //nolint:gochecknoglobals // a cache, by reflect.Type

func membersOf(t reflect.Type) []member {
	if known, ok := knownMembers.Load(t); ok {
		return known.([]member) //nolint:forcetypeassert // nothing else is put there
	}
	fields := membersIn(t, nil)
	// Of those with one name only the one that is in the fewest structs is there.
	fields = slices.DeleteFunc(fields, func(f member) bool {
		return slices.ContainsFunc(fields, func(other member) bool {
			return other.name == f.name && len(other.index) < len(f.index)
		})
	})
	knownMembers.Store(t, fields)
	return fields
}

func membersIn(t reflect.Type, index []int) []member {
	var fields []member
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clip(index), i)
		tag, tagged := f.Tag.Lookup("json")
		if f.Anonymous && !tagged {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			fields = append(fields, membersIn(inner, at)...)
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		one := member{name: fmt.Sprintf("%q:", name), index: at}
		if slices.Contains(strings.Split(options, ","), "omitempty") {
			one.omitted = isEmpty
		}
		fields = append(fields, one)
	}
	return fields
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() { //nolint:exhaustive // the rest is empty when it is zero
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}
