package cli_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/devredis"
	"github.com/kaa-run/kaa/internal/testenv"
)

// on is a writer that calls then each time it has seen a text.
type on struct {
	testenv.Buffer
	text string
	then func() error
}

func (o *on) Write(p []byte) (int, error) {
	n, err := o.Buffer.Write(p)
	if bytes.Contains(p, []byte(o.text)) {
		err = errors.Join(err, o.then())
	}
	return n, err
}

// runProgram runs one as `kaa run` does, with nothing on standard input.
func runProgram(t *testing.T, environ app.Environment, stdout, stderr io.Writer, o cli.RunOptions, program string) error {
	t.Helper()
	o.File = filepath.Join(t.TempDir(), "program.py")
	if err := os.WriteFile(o.File, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	// The null device is a character device, as a terminal is: nothing is read of it.
	o.Stdin = null
	return cli.RunFile(t.Context(), app.Process{Environ: environ, Stdout: stdout, Stderr: stderr, Redis: devredis.Start}, o)
}

// TestRunSignals: output comes while the program runs. The first signal interrupts it, and
// what it writes after that is printed still; the second does not wait for its end.
func TestRunSignals(t *testing.T) {
	t.Parallel()
	url := start(t, "KAA_KILL_GRACE=10s", "KAA_CONCURRENCY=4")
	places := map[string]app.Environment{
		"embedded": {"KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + t.TempDir()},
		"running":  {"KAA_URL=" + url},
	}
	const (
		tidy = "import time\ntry:\n print('ready', flush=True); time.sleep(50)\nfinally: print('tidied up')\n"
		deaf = "import signal, time\nsignal.signal(2, lambda *_: print('caught', flush=True))\nprint('ready', flush=True)\nfor i in range(500): time.sleep(.1)\n"
	)
	for name, tt := range map[string]struct {
		program, text  string
		signal         os.Signal
		stdout, stderr string
		code           int
	}{
		"interrupt": {tidy, "ready", os.Interrupt, "ready\ntidied up\n", "KeyboardInterrupt\n", 130},
		"terminate": {tidy, "ready", syscall.SIGTERM, "ready\ntidied up\n", "KeyboardInterrupt\n", 143},
		"twice":     {deaf, "", os.Interrupt, "ready\ncaught\n", "", 130},
	} {
		for place, environ := range places {
			if place == "embedded" && name == "twice" {
				continue // it would be killed soon after the first signal, which is a race here
			}
			t.Run(place+" "+name, func(t *testing.T) {
				t.Parallel()
				signals := make(chan os.Signal, 2)
				stdout := &on{text: tt.text, then: func() error { signals <- tt.signal; return nil }}
				var stderr testenv.Buffer
				err := runProgram(t, environ, stdout, &stderr, cli.RunOptions{Signals: signals}, tt.program)
				if got := stderr.String(); !errors.Is(err, cli.ExitError(tt.code)) || stdout.String() != tt.stdout ||
					!strings.HasSuffix(got, tt.stderr) || (tt.stderr == "" && got != "") {
					t.Errorf("%v, stdout %q, stderr %q", err, stdout.String(), got)
				}
			})
		}
	}
}

// TestRunReaderLeaves: a program whose output nobody reads is ended, without a word.
func TestRunReaderLeaves(t *testing.T) {
	t.Parallel()
	url := start(t)
	stdout := &on{text: "0\n", then: func() error { return &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE} }}
	var stderr testenv.Buffer
	err := runProgram(t, app.Environment{"KAA_URL=" + url}, stdout, &stderr, cli.RunOptions{}, "while True: print(0)")
	if !errors.Is(err, cli.ExitError(141)) || stderr.String() != "" {
		t.Errorf("%v, stderr %q", err, stderr.String())
	}
}

// TestRunAnswers: what else a Kaa, or what is before it, may answer.
func TestRunAnswers(t *testing.T) {
	t.Parallel()
	const begins = ":\n\nevent: status\ndata: {\"type\":\"status\",\"state\":\"queued\",\"jobId\":\"j\"}\n\n"
	for name, tt := range map[string]struct {
		kind, body             string
		stdout, stderr, failed string
		code                   int
	}{
		"no streams": {"application/json", `{"status":"exit","exitCode":3,"stdout":"out","stderr":"err"}`, "out", "err", "", 3},
		"gap": {"text/event-stream", begins + "id: 1-2\nevent: gap\r\ndata: {\"type\":\"gap\",\"bytes\":17}\r\n\r\n" +
			`data: {"type":"stream","stream":"stdout","text":"x"}` + "\n\n" +
			`data: {"type":"status","state":"completed","status":"ok","exitCode":0}` + "\n\n", "x", "kaa: 17 bytes of the output are missing", "", 0},
		"value too large": {"text/event-stream", begins + `data: {"type":"gap","bytes":17,"event":"display"}` + "\n\n" +
			`data: {"type":"status","state":"completed","status":"ok","exitCode":0}` + "\n\n", "", "kaa: a value of 17 bytes is missing here", "", 0},
		"cancelled by another": {"text/event-stream", begins + `data: {"type":"status","state":"cancelled","status":"interrupted","durationMs":1500}` + "\n\n", "", "kaa: cancelled after 1.5s\n", "", 125},
		"not begun":            {"text/event-stream", begins + `data: {"type":"status","state":"cancelled","failure":{"code":"queue_timeout","message":"no runner"}}` + "\n\n", "", "", "no runner", 0},
		"stream broken":        {"text/event-stream", begins + `data: {"type":"error","code":"draining","detail":"is being stopped","resumable":true}` + "\n\n", "", "", "is being stopped", 0},
		"stream cut":           {"text/event-stream", begins, "", "", "ended before the program did", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			var stdout, stderr testenv.Buffer
			err := runProgram(t, app.Environment{"KAA_URL=" + server.URL}, &stdout, &stderr, cli.RunOptions{}, "1")
			if tt.failed != "" {
				if err == nil || !strings.Contains(err.Error(), tt.failed) {
					t.Errorf("err = %v, want …%s…", err, tt.failed)
				}
				return
			}
			if code := exitOf(err); code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("%v, stdout %q, stderr %q", err, stdout.String(), stderr.String())
			}
		})
	}
}

// exitOf returns the exit code of what RunFile returned; -1 if that is another error.
func exitOf(err error) int {
	var exit cli.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1
	}
	return int(exit)
}

// TestRunFilesAndFigures: files go along, and what the program makes is kept in a directory,
// whatever the program does there.
func TestRunFilesAndFigures(t *testing.T) {
	t.Parallel()
	url := start(t)
	dir := t.TempDir()
	out, outside := filepath.Join(dir, "new", "out"), filepath.Join(dir, "outside")
	for _, made := range []string{out, outside} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	helper := filepath.Join(dir, "helper.py")
	if err := os.WriteFile(helper, []byte("data = open('in/d.bin', 'rb').read()"), 0o600); err != nil {
		t.Fatal(err)
	}
	const program = `import base64, helper, os
class Picture:
    def _repr_mimebundle_(self, **_): return {"image/png": base64.b64encode(b"\x89PNG").decode(), "image/svg+xml": "<svg/>"}
d = display(Picture(), display_id=True)
d.update(Picture())
display(Picture()); display(1)
os.makedirs("a b/c"); open("a b/c/é?#%.txt", "wb").write(helper.data); open("figure-1.png", "w").write("own")
`
	options := cli.RunOptions{Files: []string{helper, "in/d.bin=" + helper}, Out: out}
	environ := app.Environment{"KAA_URL=" + url}
	var stdout, stderr testenv.Buffer
	if err := runProgram(t, environ, &stdout, &stderr, options, program); err != nil || stderr.String() != "kaa: 2 figures and 2 files in "+out+"\n" {
		t.Fatalf("%v, stdout %q, stderr %q", err, stdout.String(), stderr.String())
	}
	for name, want := range map[string]string{
		"a b/c/é?#%.txt": "data = open('in/d.bin', 'rb').read()", "figure-1.png": "own",
		"figure-2.png": "\x89PNG", "figure-2.svg": "<svg/>", "figure-3.png": "\x89PNG", "figure-3.svg": "<svg/>",
	} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}

	// Without --out they are counted.
	stderr = testenv.Buffer{}
	options.Out = ""
	if err := runProgram(t, environ, &stdout, &stderr, options, program); err != nil || stderr.String() != "kaa: 2 figures and 2 files were not kept; --out DIR keeps them\n" {
		t.Errorf("%v, stderr %q", err, stderr.String())
	}

	// A link in the directory does not lead out of it.
	if err := os.Symlink(outside, filepath.Join(out, "link")); err != nil {
		t.Fatal(err)
	}
	options = cli.RunOptions{Out: out}
	err := runProgram(t, environ, &stdout, &stderr, options, "import os; os.mkdir('link'); open('link/x', 'w').write('x')")
	if left, _ := os.ReadDir(outside); exitOf(err) != -1 || len(left) != 0 {
		t.Errorf("%v, outside: %v", err, left)
	}
	if err := runProgram(t, environ, &stdout, &stderr, cli.RunOptions{Files: []string{"nowhere.csv"}}, "1"); err == nil || !strings.Contains(err.Error(), "--file nowhere.csv") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestRunCases: the verdicts of cases are printed, and decide the exit code.
func TestRunCases(t *testing.T) {
	t.Parallel()
	url := start(t)
	for name, tt := range map[string]struct {
		cases string
		code  int
		want  []string
	}{
		"all are accepted": {`[{"stdin": "2", "expect": {"stdout": "4"}}, {"stdin": "3", "name": "three", "expect": {"stdout": "6"}}]`, 0, []string{"accepted", "  1\n", "  three\n"}},
		"one is wrong":     {`{"cases": [{"stdin": "2", "expect": {"stdout": "5"}}, {"stdin": "x"}], "stopAtFirstFailure": false}`, 1, []string{`wrong_answer`, `  1: line 1: "4", expected "5"`, "runtime_error", "  2: ValueError: invalid literal"}},
		"no cases":         {`{"checker": {"code": "1"}}`, -1, nil},
		"a mistake":        {`{"case": []}`, -1, nil},
	} {
		file := filepath.Join(t.TempDir(), "cases.json")
		if err := os.WriteFile(file, []byte(tt.cases), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		err := runProgram(t, app.Environment{"KAA_URL=" + url}, &stdout, &stderr, cli.RunOptions{Cases: file}, "print(int(input()) * 2)")
		code := 0
		if exit, ok := errors.AsType[cli.ExitError](err); ok {
			code = int(exit)
		} else if err != nil {
			code = -1
		}
		if code != tt.code {
			t.Errorf("%s: %v\n%s%s", name, err, &stdout, &stderr)
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, &stdout)
			}
		}
	}
}
