package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// mostFile bounds the file of keys: about 200,000 keys.
const mostFile = 64 << 20

// ReadFile reads the keys that a file lists: {"keys": [...]}.
func ReadFile(path string) ([]Key, error) {
	// To open a named pipe would else wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("keys file: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("keys file: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("keys file %s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, mostFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys file %s: %w", path, err)
	case len(text) > mostFile:
		return nil, fmt.Errorf("keys file %s: larger than %d bytes", path, mostFile)
	}
	keys, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("keys file %s: %w", path, err)
	}
	return keys, nil
}

func parse(text []byte) ([]Key, error) {
	var file struct {
		Keys *[]entry `json:"keys"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, describe(text, err)
	}
	if d.More() {
		return nil, fmt.Errorf("line %d: text after the object", line(text, d.InputOffset()))
	}
	if err := repeated(text); err != nil {
		return nil, err
	}
	if file.Keys == nil {
		return nil, errors.New(`want {"keys": [{"id", "tenant", "sha256", ...}]}`)
	}
	ids, sums := map[string]int{}, map[string]int{}
	keys := make([]Key, len(*file.Keys))
	for i, e := range *file.Keys {
		k, err := e.key()
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if other, taken := ids[k.ID]; taken {
			return nil, fmt.Errorf("key %d: id %q is that of key %d, too", i+1, k.ID, other)
		}
		if other, taken := sums[k.SHA256]; taken {
			return nil, fmt.Errorf("key %d: its sha256 is that of key %d, too", i+1, other)
		}
		ids[k.ID], sums[k.SHA256], keys[i] = i+1, i+1, k
	}
	return keys, nil
}

// entry is a key in the file. Its expiry hides the key's, in which the year 1 means never.
type entry struct {
	Key
	Expires *time.Time `json:"expires"`
}

func (e entry) key() (Key, error) {
	k := e.Key
	if e.Expires != nil {
		k.Expires = *e.Expires
		if k.Expires.IsZero() {
			return k, &FieldError{"expires", errors.New("is a time long ago; leave it out for a key without an end")}
		}
	}
	return k, k.Check()
}

// repeated refuses objects with two fields of one name: the decoder would take the last, and
// without regard to case. The text is one value that the decoder has read.
func repeated(text []byte) error {
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
					return fmt.Errorf("line %d: field %q occurs twice", line(text, d.InputOffset()), token)
				}
				open[len(open)-1][key] = true
				name = false
				continue
			}
		}
		name = true
	}
}

// describe adds the line to an error of the decoder.
func describe(text []byte, err error) error {
	syntax, kind := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(text, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %w", line(text, kind.Offset), err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends before its object does")
	}
	if field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return fmt.Errorf("unknown field %s; a key has id, tenant, name, scopes, created, expires, sha256 and limits, and limits have "+
			"rate, burst, concurrency, depth, sessions, ceilings, runtimes and egress", field)
	}
	return err
}

func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
