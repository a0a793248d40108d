package cli_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestRepl: an interpreter at a terminal, with blocks, values, completion, input() and Ctrl-C.
func TestRepl(t *testing.T) {
	t.Parallel()
	url := start(t)
	person, program := openTerminal(t)
	resize(t, person, 200, 40)
	before := settings(t, program)
	kept := filepath.Join(t.TempDir(), "history")
	out, errs, signals, ended := new(testenv.Buffer), new(testenv.Buffer), make(chan os.Signal), make(chan error, 1)
	go func() {
		ended <- cli.Repl(t.Context(), app.Process{Environ: app.Environment{"KAA_URL=" + url, "KAA_HISTORY=" + kept}, Stdout: out, Stderr: errs}, cli.ReplOptions{Stdin: program, Signals: signals})
	}()
	from := 0
	sees := func(what, text string) {
		t.Helper()
		testenv.Eventually(t, what, func() bool {
			select {
			case err := <-ended:
				t.Fatalf("%s: it has ended: %v\n%q\n%s", what, err, out, errs)
			default:
			}
			at := strings.Index(out.String()[from:], text)
			if at >= 0 {
				from += at + len(text)
			}
			return at >= 0
		})
	}
	types := func(keys string) {
		t.Helper()
		if _, err := io.WriteString(person, keys); err != nil {
			t.Fatal(err)
		}
	}
	sees("the prompt", ">>> ")
	types("6 * 7\r")
	sees("a value", "42\n")
	sees("the prompt", ">>> ")
	types("def twice(x):\r")
	sees("a block", "... ")
	types("\treturn 2 * x\r")
	sees("more of it", "... ")
	types("\r")
	sees("the prompt after a block", ">>> ")
	types("tw\t21)\r")
	sees("a completed name", "twice(21)")
	sees("its value", "42\n")
	sees("the prompt", ">>> ")
	types("input('name? ')\r")
	sees("a question", "name? ")
	types("Ada\r")
	sees("the answer", "'Ada'\n")
	sees("the prompt", ">>> ")
	types("dropped(\x03")
	sees("the prompt after Ctrl-C", ">>> ")
	types("while True: print('on', flush=True)\r")
	sees("output", "on\n")
	signals <- syscall.SIGINT
	testenv.Eventually(t, "the traceback of an interrupt", func() bool { return strings.Contains(errs.String(), "KeyboardInterrupt") })
	sees("the prompt after an interrupt", ">>> ")
	types("\x04")
	if err := <-ended; err != nil {
		t.Errorf("%v\n%q", err, out)
	}
	if text, err := os.ReadFile(kept); err != nil || !strings.HasPrefix(string(text), "6 * 7\ndef twice(x):\n    return 2 * x\n") || strings.Contains(string(text), "Ada") {
		t.Errorf("%v: the history is %q", err, text)
	}
	if after := settings(t, program); after != before {
		t.Errorf("the terminal is not as it was: %+v, was %+v", after, before)
	}
	if left := get(t, url+"/v1/sessions?state=live"); strings.Contains(left, `"id"`) {
		t.Errorf("the session is left: %s", left)
	}
}

// TestReplEnds: the end of its context ends an interpreter that waits for keys, and a terminal is needed.
func TestReplEnds(t *testing.T) {
	t.Parallel()
	url := start(t)
	_, program := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, errs, ended := new(testenv.Buffer), new(testenv.Buffer), make(chan error, 1)
	p := app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: out, Stderr: errs}
	go func() {
		ended <- cli.Repl(ctx, p, cli.ReplOptions{Stdin: program, Keep: true})
	}()
	testenv.Eventually(t, "a prompt", func() bool { return strings.Contains(out.String(), ">>> ") })
	cancel()
	if err := <-ended; err != nil || !strings.Contains(errs.String(), "goes on: kaa repl --session ") {
		t.Errorf("%v\n%s", err, errs)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := cli.Repl(t.Context(), p, cli.ReplOptions{Stdin: null}); err == nil || !strings.Contains(err.Error(), "needs a terminal") {
		t.Errorf("without a terminal: %v", err)
	}
}
