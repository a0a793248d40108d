// Package jsonfile reads the JSON files that operators write: strictly, because what a file says beyond what is understood, or says twice, is a
// mistake, and within bounds. Its errors say where a file is wrong.
package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Format is a kind of file.
type Format struct {
	// Most bounds its size in bytes.
	Most int
	// Fields ends the message about an unknown field: it says which are known.
	Fields string
	// Secret: the file has values that no message may show, so messages quote nothing of it.
	Secret bool
}

// Read reads the object of a file.
func (f Format) Read(path string, object any) error {
	// To open a named pipe would else wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(f.Most)+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case len(text) > f.Most:
		return fmt.Errorf("%s: larger than %d bytes", path, f.Most)
	}
	if err := f.decode(text, object); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// decode reads a text that is one object, whose fields are all known, and none of which occurs twice.
func (f Format) decode(text []byte, object any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(object); err != nil {
		return f.describe(text, err)
	}
	end := d.InputOffset()
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: text after the object", line(text, end))
	}
	return f.repeated(text)
}

// repeated refuses objects with two fields of one name: the decoder would take the last, and
// without regard to case. The text is one value that the decoder has read.
func (f Format) repeated(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	var open []map[string]bool // the names of each object that is open; nil for an array
	name := false              // whether the next text in an object is a name
	for {
		token, err := d.Token()
		if err != nil {
			return nil //nolint:nilerr // the end: the decoder has read the text before
		}
		inObject := len(open) > 0 && open[len(open)-1] != nil
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			name = true
			continue
		case string:
			if inObject && name {
				key := strings.ToLower(token)
				if open[len(open)-1][key] {
					return f.twice(line(text, d.InputOffset()), token)
				}
				open[len(open)-1][key] = true
				name = false
				continue
			}
		}
		name = true
	}
}

func (f Format) twice(line int, name string) error {
	if f.Secret {
		return fmt.Errorf("line %d: a field occurs twice", line)
	}
	return fmt.Errorf("line %d: field %q occurs twice", line, name)
}

// describe says where a text is wrong. The decoder's own words may have pieces of a value.
func (f Format) describe(text []byte, err error) error {
	syntax, kind := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	field, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d is not JSON", line(text, syntax.Offset))
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("line %d: it is no object", line(text, kind.Offset))
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: field %s has another type", line(text, kind.Offset), kind.Field)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends before its object does")
	case unknown && f.Secret:
		return errors.New("it has an unknown field; " + f.Fields)
	case unknown:
		return fmt.Errorf("unknown field %s; %s", field, f.Fields)
	case f.Secret:
		return errors.New("a value is not one of its field") // such as a number that is too large, or a time
	}
	return err
}

func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
