package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// buildPrevious makes the binaries of the commit in testdata/previous-release.
func buildPrevious(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/previous-release")
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(string(text))
	run := func(dir string, stdin []byte, name string, argv ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), name, argv...)
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(stdin), os.Stderr
		return cmd.Output()
	}
	if _, err := run("../..", nil, "git", "cat-file", "-e", commit+"^{commit}"); err != nil {
		t.Skipf("NOT TESTED: the upgrade from %s, because this checkout does not have that commit (git fetch --unshallow): %v", commit, err)
	}
	source, bin := t.TempDir(), t.TempDir()
	archive, err := run("../..", nil, "git", "archive", commit)
	if err == nil {
		_, err = run(source, archive, "tar", "-x")
	}
	if err == nil {
		_, err = run(source, nil, "go", "build", "-o", bin, "./cmd/api", "./cmd/runner")
	}
	if err != nil {
		t.Fatalf("build %s: %v", commit, err)
	}
	return bin
}

// inOne executes code in a session by way of one API.
func (c *client) inOne(ctx context.Context, api *process, session, code string) (answer, result, error) {
	var r result
	a, err := c.call(ctx, api, http.MethodPost, "/process/interpreter/execute", map[string]any{"code": code, "sessionId": session})
	if err == nil && a.status == http.StatusOK {
		err = json.Unmarshal(a.raw, &r)
	}
	return a, r, err
}

// TestRollingUpgrade replaces the processes of the previous release one by one, under load. Both
// releases work on the same records meanwhile: no request fails, no job is lost or doubled, and
// sessions of the old runner stay reachable until it drains.
func TestRollingUpgrade(t *testing.T) { //nolint:paralleltest // it measures times
	if *duration == 0 {
		t.Skip("run by make test-long")
	}
	vars := []string{"KAA_DRAIN_TIMEOUT=10s", "KAA_SHUTDOWN_DELAY=1s"}
	previous, present := buildPrevious(t), build(t)
	c := newCluster(t)
	marks := filepath.Join(c.dir, "marks")
	if err := os.WriteFile(marks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	oldAPI, oldRunner := c.addAPI(previous, "old-api", vars...), c.addRunner(previous, "old-runner", vars...)
	newAPI, newRunner := c.addAPI(present, "new-api", vars...), c.addRunner(present, "new-runner", vars...)
	c.start(oldAPI, oldRunner)
	b := &balancer{client: newClient(c.apis)}
	defer b.http.CloseIdleConnections()
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	go b.watch(watching)
	load := b.startLoad(t, marks)

	ctx := t.Context()
	opened, err := b.call(ctx, oldAPI, http.MethodPost, "/v1/sessions", map[string]any{})
	if err != nil || opened.status != http.StatusCreated {
		t.Fatalf("open a session: %v %d %s", err, opened.status, opened.raw)
	}
	session := opened.view().ID
	executes := func(when string, api *process, code, want string) {
		t.Helper()
		if a, r, err := b.inOne(ctx, api, session, code); err != nil || r.Status != "ok" || r.Stdout != want {
			t.Errorf("%s, the session by way of %s: %v %d %s", when, api.name, err, a.status, a.raw)
		}
	}
	// The old API records it, and the new one has to know it.
	later, err := b.call(ctx, oldAPI, http.MethodPost, "/v1/jobs", map[string]any{"code": "print('later')", "delay": 3600})
	if err != nil || later.status != http.StatusAccepted {
		t.Fatalf("schedule a job: %v %d %s", err, later.status, later.raw)
	}
	executes("at first", oldAPI, "x = 1; print(x)", "1\n")
	c.start(newAPI, newRunner)
	executes("beside each other", newAPI, "x += 1; print(x)", "2\n")
	executes("beside each other", oldAPI, "x += 1; print(x)", "3\n")
	stop := func(p *process) {
		t.Helper()
		if !p.terminate(40*time.Second) || p.exitCode() != 0 {
			t.Errorf("%s does not stop well", p.name)
		}
	}
	stop(oldAPI)
	executes("after the old API", newAPI, "x += 1; print(x)", "4\n")
	stop(oldRunner)
	a, _, err := b.inOne(ctx, newAPI, session, "print(x)")
	if err != nil || a.status != http.StatusGone || !strings.Contains(string(a.raw), "drained") {
		t.Errorf("after the old runner, the session: %v %d %s", err, a.status, a.raw)
	}
	a, err = b.call(ctx, newAPI, http.MethodGet, "/v1/jobs/"+later.view().ID, nil)
	if err != nil || a.view().State != "scheduled" {
		t.Errorf("the scheduled job: %v %d %s", err, a.status, a.raw)
	}
	a, err = b.call(ctx, newAPI, http.MethodDelete, "/v1/jobs/"+later.view().ID, nil)
	if err != nil || a.status >= 400 {
		t.Errorf("cancel it: %v %d %s", err, a.status, a.raw)
	}
	load.finish(t)
}
