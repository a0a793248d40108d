package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/kaa-run/kaa/internal/job"
)

// mostSecretsFile bounds the file of secrets.
const mostSecretsFile = 4 << 20

// SecretsIn reads the secrets that a file lists: {"secrets": [...]}. Its errors have no value of a secret.
func SecretsIn(path string) ([]job.NetworkSecret, error) {
	// To open a named pipe would else wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, mostSecretsFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > mostSecretsFile:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, mostSecretsFile)
	}
	all, err := parseSecrets(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// secretEntry is a secret in the file.
type secretEntry struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"`
	To      []string `json:"to"`
	Tenants []string `json:"tenants"`
	Plain   bool     `json:"plain"`
}

func parseSecrets(text []byte) ([]job.NetworkSecret, error) {
	var file struct {
		Secrets *[]secretEntry `json:"secrets"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, readingError(text, err)
	}
	if d.More() {
		return nil, errors.New("there is text after the object")
	}
	if file.Secrets == nil {
		return nil, errors.New(`want {"secrets": [{"name", "value", "to", "tenants"}]}`)
	}
	all, names := make([]job.NetworkSecret, len(*file.Secrets)), map[string]bool{}
	for i, e := range *file.Secrets {
		s := job.NetworkSecret{Name: e.Name, Value: job.Secret(e.Value), Tenants: e.Tenants, Plain: e.Plain}
		var err error
		if s.To, err = job.ParseNetworkRules(e.To); err != nil {
			return nil, fmt.Errorf("secret %d: to: %w", i+1, err)
		}
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("secret %d: %s occurs twice", i+1, s.Name)
		}
		all[i], names[s.Name] = s, true
	}
	return all, nil
}

// readingError says where a text is wrong. The decoder's own words may have pieces of a value.
func readingError(text []byte, err error) error {
	syntax, kind := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	line := func(offset int64) int { return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n")) }
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d is not JSON", line(syntax.Offset))
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: field %s has another type", line(kind.Offset), kind.Field)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends before its object does")
	}
	return errors.New("it has an unknown field; a secret has name, value, to, tenants and plain")
}

// Secrets are those of the file. Load has checked it, so it can be read unless it has changed since then.
func (c *Config) Secrets() []job.NetworkSecret {
	if c.SecretsFile == "" {
		return nil
	}
	all, _ := SecretsIn(c.SecretsFile)
	return all
}

// secretNames are the secrets without their values.
func (c *Config) secretNames() []job.NetworkSecret {
	all := c.Secrets()
	for i := range all {
		all[i].Value = ""
	}
	return all
}
