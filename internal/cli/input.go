package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// environment reads variables: NAME=VALUE, or NAME for this process's value.
func environment(p app.Process, envs []string) map[string]string {
	all := make(map[string]string, len(envs))
	for _, e := range envs {
		name, value, given := strings.Cut(e, "=")
		if !given {
			value = p.Environ.Get(name)
			if !isSet(p.Environ, name) {
				_, _ = fmt.Fprintf(p.Stderr, "kaa: --env %s: this shell has no such variable; the program gets it empty\n", name)
			}
		}
		all[name] = value
	}
	return all
}

// isTerminal reports whether f is a terminal, or another device, or cannot be read.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.Mode()&os.ModeCharDevice != 0
}

// text refuses bytes that JSON cannot carry, rather than change them silently.
func text(b []byte, err error) (string, error) {
	if err == nil && !utf8.Valid(b) {
		err = errors.New("it is not valid UTF-8; convert it, or read binary data from a file in the program")
	}
	return string(b), err
}

// readFiles reads the files that --file names: NAME=PATH, or a PATH that is also the name. A PATH
// that is not below the current directory is named by its last part only.
func readFiles(names []string) ([]client.FileBody, error) {
	files := make([]client.FileBody, 0, len(names))
	for _, text := range names {
		name, from, given := strings.Cut(text, "=")
		if !given {
			from = text
			if name = filepath.Clean(text); !filepath.IsLocal(name) {
				name = filepath.Base(name)
			}
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("--file %s: %w", text, err)
		}
		files = append(files, client.FileBody{Path: filepath.ToSlash(name), ContentBase64: new(base64.StdEncoding.EncodeToString(content))})
	}
	return files, nil
}
