package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// mostFile bounds the file of keys: about 200,000 keys.
const mostFile = 64 << 20

// ReadFile reads the keys that a file lists: {"keys": [...]}.
func ReadFile(path string) ([]Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keys file: %w", err)
	}
	defer func() { _ = f.Close() }()
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
		Keys *[]Key `json:"keys"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, describe(text, err)
	}
	if d.More() {
		return nil, fmt.Errorf("line %d: text after the object", line(text, d.InputOffset()))
	}
	if file.Keys == nil {
		return nil, errors.New(`want {"keys": [{"id", "tenant", "sha256", ...}]}`)
	}
	ids, sums := map[string]int{}, map[string]int{}
	for i, k := range *file.Keys {
		if err := k.Check(); err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if other, taken := ids[k.ID]; taken {
			return nil, fmt.Errorf("key %d: id %q is that of key %d, too", i+1, k.ID, other)
		}
		if other, taken := sums[k.SHA256]; taken {
			return nil, fmt.Errorf("key %d: its sha256 is that of key %d, too", i+1, other)
		}
		ids[k.ID], sums[k.SHA256] = i+1, i+1
	}
	return *file.Keys, nil
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
	return err
}

func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
