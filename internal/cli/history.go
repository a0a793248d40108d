package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/app"
)

const (
	// mostLines bounds the lines of a history.
	mostLines = 1000
	// mostHistory is the size beyond which the file is written anew, with the last lines alone.
	mostHistory = 512 << 10
	// mostTyped bounds a line of a history.
	mostTyped = 16 << 10
)

// history is the lines that a person has typed into interpreters, and the file that keeps them.
type history struct {
	lines []string // the newest is the last
	file  *os.File // nil if nothing is kept
	// answering: the lines answer a program, perhaps with a password. They are neither kept nor found again.
	answering bool
}

// Add takes a line.
func (h *history) Add(line string) {
	last := ""
	if len(h.lines) > 0 {
		last = h.lines[len(h.lines)-1]
	}
	if h.answering || line == last || !typed(line) {
		return
	}
	h.lines = append(h.lines, line)
	h.lines = h.lines[max(0, len(h.lines)-mostLines):]
	if h.file != nil {
		_, _ = io.WriteString(h.file, line+"\n") // a full disk is no reason to stop an interpreter
	}
}

// Len is the number of lines.
func (h *history) Len() int { return len(h.lines) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

func (h *history) close() {
	if h.file != nil {
		_ = h.file.Close()
	}
}

// typed reports whether a person can have typed a line.
func typed(line string) bool {
	return strings.TrimSpace(line) != "" && len(line) <= mostTyped && utf8.ValidString(line) && !strings.ContainsFunc(line, func(c rune) bool {
		return c != '\t' && unicode.IsControl(c)
	})
}

// historyFile returns the path of the file: KAA_HISTORY, which is empty for none, or kaa/history in the user's directory of states.
func historyFile(environ app.Environment) string {
	if isSet(environ, "KAA_HISTORY") {
		return environ.Get("KAA_HISTORY")
	}
	dir := environ.Get("XDG_STATE_HOME")
	if dir == "" {
		home := environ.Get("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "kaa", "history")
}

// openHistory returns the history of the person. Its file has code, which may have secrets, so only its owner may read it. With an error
// there is a history without a file.
func openHistory(environ app.Environment) (*history, error) {
	h := &history{}
	path := historyFile(environ)
	if path == "" {
		return h, nil
	}
	wrap := func(err error) (*history, error) { return h, fmt.Errorf("the history is not kept: %w", err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return wrap(err)
	}
	size := int64(0)
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return wrap(fmt.Errorf("%s is no file", path))
	case err == nil:
		size = info.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return wrap(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return wrap(err)
	}
	if err := cmp.Or(f.Chmod(0o600), h.read(f, size)); err != nil {
		_ = f.Close()
		return wrap(err)
	}
	if size <= mostHistory {
		h.file = f
		return h, nil
	}
	_ = f.Close()
	if h.file, err = h.shorten(path); err != nil {
		return wrap(err)
	}
	return h, nil
}

// read takes the last lines of a file.
func (h *history) read(f *os.File, size int64) error {
	from := max(0, size-mostHistory)
	text, err := io.ReadAll(io.NewSectionReader(f, from, size-from))
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if from > 0 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return !typed(line) })
	h.lines = lines[max(0, len(lines)-mostLines):]
	return nil
}

// shorten replaces the file by one with the lines of the history, half of the size that a file may have, in one step.
func (h *history) shorten(path string) (*os.File, error) {
	size, first := 0, len(h.lines)
	for first > 0 && size+len(h.lines[first-1]) < mostHistory/2 {
		first--
		size += len(h.lines[first]) + 1
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".history-*") // with mode 0600
	if err != nil {
		return nil, err
	}
	for _, line := range h.lines[first:] {
		if _, err = io.WriteString(f, line+"\n"); err != nil {
			break
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_, _ = f.Close(), os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}
