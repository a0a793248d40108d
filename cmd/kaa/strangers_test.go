package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// strangers is a server that is no Kaa. Below /old it is one of an older release.
func strangers(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/old/") {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"code": "no_such_route", "detail": "there is nothing at this path"}`)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>nginx</html>")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestInterrupts: Ctrl-C interrupts code that never ends and keeps what was printed, and a closed output ends it.
func TestInterrupts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		code string
		do   func(t *testing.T, kaa *os.Process, out io.Closer)
		want int
		says string
	}{
		"Ctrl-C": {"import time\ntry:\n print('on', flush=True); time.sleep(1000)\nfinally: print('end')", func(t *testing.T, kaa *os.Process, _ io.Closer) {
			t.Helper()
			_ = kaa.Signal(os.Interrupt)
		}, 130, "end\n"},
		"broken pipe": {"while True: print('on', flush=True)", func(t *testing.T, _ *os.Process, out io.Closer) {
			t.Helper()
			_ = out.Close()
		}, 141, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := child(t, operator(t), "run", "-")
			cmd.Stdin = strings.NewReader(tt.code)
			errs := new(testenv.Buffer)
			cmd.Stderr = errs
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			first := make([]byte, 3)
			if _, err := io.ReadFull(out, first); err != nil {
				t.Fatalf("%v\n%s", err, errs)
			}
			tt.do(t, cmd.Process, out)
			rest, _ := io.ReadAll(out)
			if code := testenv.ExitCode(cmd.Wait()); code != tt.want || !strings.HasSuffix(string(rest), tt.says) {
				t.Errorf("%d, want %d: %q, %s", code, tt.want, rest, errs)
			}
		})
	}
}

// TestThirdSignal: the third signal undoes what would outlive the process, whether or not the first two were taken.
func TestThirdSignal(t *testing.T) {
	t.Parallel()
	received, ended := make(chan os.Signal, 3), make(chan os.Signal, 1)
	passed := passTwo(received, func(s os.Signal) { ended <- s })
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		received <- s
	}
	if last := <-ended; last != syscall.SIGHUP {
		t.Errorf("the end came with %v", last)
	}
	if first, second := <-passed, <-passed; first != syscall.SIGINT || second != syscall.SIGTERM {
		t.Errorf("passed: %v, %v", first, second)
	}
}

// TestNearest: which name was meant.
func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"jobs", "run", "runners", "sessions", "timeout"}
	for word, want := range map[string]string{"jbos": "jobs", "rum": "run", "sess": "sessions", "timout": "timeout", "ruunners": "runners", "zzzzzz": "", "x": ""} {
		if got := nearest(word, names); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
