package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestRunWithoutInput: a program that asks for input that it cannot have ends with a hint that fits the reason, and with none where
// its input has come to its end.
func TestRunWithoutInput(t *testing.T) {
	t.Parallel()
	const answer = ":\n\nevent: status\ndata: {\"type\":\"status\",\"state\":\"queued\",\"jobId\":\"j\"}\n\n" +
		`data: {"type":"status","state":"completed","status":"error","exitCode":1,"error":{"name":"EOFError","value":"","traceback":"EOFError\n"}}` + "\n\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/jobs" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"id":"j","state":"queued"}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	program := filepath.Join(t.TempDir(), "asks.py")
	if err := os.WriteFile(program, []byte("input()"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, terminal := openTerminal(t)
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	for name, tt := range map[string]struct {
		options cli.RunOptions
		submit  bool
		hint    string
	}{
		"terminal":             {cli.RunOptions{File: program, Stdin: terminal}, false, "no input from a terminal: pipe its input in, or use kaa repl"},
		"terminal, followed":   {cli.RunOptions{File: program, Stdin: terminal}, true, "no input from a terminal: pipe its input in, or use kaa repl"},
		"program in a pipe":    {cli.RunOptions{File: "-", Stdin: open(program)}, false, "itself read from standard input, so it gets none: save it as a file"},
		"null device":          {cli.RunOptions{File: program, Stdin: open(os.DevNull)}, false, ""},
		"input that has ended": {cli.RunOptions{File: program, Stdin: open(program)}, false, ""},
	} {
		var stdout, stderr testenv.Buffer
		p := app.Process{Environ: app.Environment{"KAA_URL=" + server.URL}, Stdout: &stdout, Stderr: &stderr}
		var err error
		if tt.submit {
			err = cli.Submit(t.Context(), p, cli.SubmitOptions{RunOptions: tt.options, Follow: true})
		} else {
			err = cli.RunFile(t.Context(), p, tt.options)
		}
		_, hint, hinted := strings.Cut(stderr.String(), "kaa: ")
		if exitOf(err) != 1 || hinted != (tt.hint != "") || !strings.Contains(hint, tt.hint) {
			t.Errorf("%s: %v %q", name, err, stderr.String())
		}
	}
}
