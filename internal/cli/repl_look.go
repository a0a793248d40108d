package cli

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/client"
)

// lookCode is Python that answers questions of the editor in the session, and binds no name there.
//
//go:embed repl.py
var lookCode string

const (
	// lookTime is how long the editor waits for an answer, such as while the session executes code of another client.
	lookTime = 5 * time.Second
	// keyWait is how often a wait for keys looks whether the interpreter has to end, in milliseconds.
	keyWait = 200
	tab     = "    "
)

// ask has the session answer a question. It returns false if there is no answer.
func (r *repl) ask(ctx context.Context, do, code string, answer any) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	request, err := json.Marshal(map[string]string{"do": do, "code": code})
	if err != nil {
		return false
	}
	program := `if __import__("builtins").exec(` + strconv.QuoteToASCII(lookCode) + `, {"names": __import__("builtins").globals(), "request": ` +
		strconv.QuoteToASCII(string(request)) + `}): pass`
	result, err := r.client.Execute(ctx, client.ExecuteBody{Code: program, SessionID: &r.session, Timeout: new(lookTime.Seconds())})
	if err != nil {
		return false
	}
	parts := strings.Split(result.Stdout, "\x00")
	return len(parts) >= 3 && json.Unmarshal([]byte(parts[len(parts)-2]), answer) == nil
}

// whole reports whether code is a whole statement. Wrong code is whole, since its execution shows the mistake.
func (r *repl) whole(ctx context.Context, code string) bool {
	whole := true
	return !r.ask(ctx, "whole", code, &whole) || whole
}

// complete returns the editor's function for the key Tab: four spaces at the begin of a line, else the rest of a name.
func (r *repl) complete(ctx context.Context) func(line string, pos int, key rune) (string, int, bool) {
	return func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		before, after := line[:pos], line[pos:]
		if strings.TrimSpace(before) == "" {
			return before + tab + after, pos + len(tab), true
		}
		word := before[strings.LastIndexFunc(before, notInName)+1:]
		var matches []string
		if word == "" || !r.ask(ctx, "complete", word, &matches) || len(matches) == 0 {
			return line, pos, true
		}
		common := matches[0]
		for _, m := range matches {
			for !strings.HasPrefix(m, common) {
				common = common[:len(common)-1]
			}
		}
		if len(matches) > 1 && common == word {
			_, _ = fmt.Fprintln(r.editor, strings.Join(matches, "  "))
		}
		before = strings.TrimSuffix(before, word) + common
		return before + after, len(before), true
	}
}

// notInName reports whether a character ends a name with dots.
func notInName(c rune) bool {
	return c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c < 0x80
}

// keyReader reads a terminal until ended. It notes a Ctrl-C, which the editor reports as the end of its input, as it does a Ctrl-D.
type keyReader struct {
	from        *os.File
	ended       <-chan struct{}
	interrupted bool
}

func (k *keyReader) Read(p []byte) (int, error) {
	for ready := false; !ready; {
		select {
		case <-k.ended:
			return 0, io.EOF
		default:
		}
		control(k.from, func(fd int) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
			n, err := unix.Poll(fds, keyWait)
			ready = n > 0 || err != nil && err != unix.EINTR
		})
	}
	n, err := k.from.Read(p)
	if strings.ContainsRune(string(p[:n]), 3) {
		k.interrupted = true
	}
	return n, err //nolint:wrapcheck // io.EOF stays that
}
