package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// child is one of Kaa's processes, until its standard input ends.
func child(name string) int {
	p := app.Process{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var err error
	switch name {
	case "runner":
		err = app.RunRunner(ctx, p)
	case "api":
		err = app.RunAPI(ctx, p)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 3
}

// A runner does not start where its level does not hold, and says what to change.
func TestRunnerRefusesToStart(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	for unfit, want := range map[string]string{
		testenv.NoUserNS:   "set sysctl user.max_user_namespaces above 0",
		testenv.NoNetNS:    "set sysctl user.max_net_namespaces above 0",
		testenv.MaskedProc: "systempaths=unconfined",
	} {
		k := prepare(t, redis)
		cmd := testenv.Child(t, "runner", unfit, k.environ)
		stdin, err := cmd.StdinPipe() // it lives until this ends
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stdin.Close() }()
		out, err := cmd.CombinedOutput()
		if testenv.ExitCode(err) != 3 {
			t.Errorf("%s: %v", unfit, err)
		}
		for _, want := range []string{"sandbox level strict does not hold here", want, "kaa doctor", "KAA_SANDBOX"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in:\n%s", unfit, want, out)
			}
		}
	}
}

// With KAA_SANDBOX=auto it starts at basic, and everybody can see that and why.
func TestRunnerFallsBackLoudly(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_SANDBOX=auto")
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	cmd := testenv.Child(t, "runner", testenv.NoUserNS, k.environ)
	logs := new(testenv.Buffer)
	cmd.Stderr = logs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the runner registers", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/runners", nil).raw, `"sandbox":"basic"`)
	})
	runners := k.call(http.MethodGet, "/v1/runners", nil).raw
	for _, want := range []string{`{"name":"user namespace","holds":false,"detail":"no space left on device","advice":"allow user namespaces`, `{"name":"seccomp","holds":true}`} {
		if !strings.Contains(runners, want) {
			t.Errorf("no %s in %s", want, runners)
		}
	}
	if a := k.execute(fields{"code": "print(open('/proc/self/status').read().split('Seccomp:')[1].split()[0])"}); a.str("stdout") != "2\n" {
		t.Errorf("execution: %s", a.raw)
	}
	_ = stdin.Close()
	stopped := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Errorf("stop: %v", err)
	}
	testenv.Within(t, 10*time.Second, stopped)
	for _, want := range []string{"a sandbox level does not hold here; trying the next", "the sandbox is weaker than strict", `"level":"WARN"`} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, logs)
		}
	}
}
