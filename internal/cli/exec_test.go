package cli_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestExec: `kaa exec` runs commands in a session and in fresh sandboxes, and exits as they do.
func TestExec(t *testing.T) {
	t.Parallel()
	url := start(t)
	res, err := http.Post(url+"/v1/sessions", "application/json", nil) //nolint:noctx // the server is this test's
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var session struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&session); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, session, stdin, cwd, out string
		program, envs                  []string
		exit                           int
		fails                          string
	}{
		{name: "writes a file", session: session.ID, program: []string{"sh", "-c", "cat > f; echo done"}, stdin: "input", out: "done\n"},
		{name: "finds it", session: session.ID, program: []string{"sh", "-c", "cat f; echo $V; exit 7"}, envs: []string{"V=v"}, out: "inputv\n", exit: 7},
		{name: "elsewhere", session: session.ID, program: []string{"pwd"}, cwd: "/tmp", out: "/tmp\n"},
		{name: "fresh", program: []string{"sh", "-c", "ls; cat; kill -TERM $$"}, stdin: "in", out: "in", exit: 143},
		{name: "no program", program: []string{"no-such-program"}, exit: 127},
		{name: "no session", session: "none", program: []string{"ls"}, fails: "session"},
	} {
		in, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.WriteString(tt.stdin) // a pipe has room for it
		_ = w.Close()
		out, errs := new(testenv.Buffer), new(testenv.Buffer)
		err = cli.Exec(t.Context(), app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: out, Stderr: errs},
			cli.ExecOptions{Session: tt.session, Program: tt.program, Cwd: tt.cwd, Stdin: in, Envs: tt.envs})
		_ = in.Close()
		var exit cli.ExitError
		switch {
		case tt.fails != "":
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.fails)
			}
		case errors.As(err, &exit) != (tt.exit != 0) || int(exit) != tt.exit || err != nil && tt.exit == 0 || !strings.HasSuffix(out.String(), tt.out):
			t.Errorf("%s: %v, output %q, errors %q, want %d %q", tt.name, err, out, errs, tt.exit, tt.out)
		}
	}
	if err := cli.Exec(t.Context(), app.Process{}, cli.ExecOptions{Program: []string{"ls"}}); err == nil || !strings.Contains(err.Error(), "KAA_URL") {
		t.Errorf("without an address: %v", err)
	}
}
