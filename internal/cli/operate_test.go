package cli_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// asOperator starts a Kaa, and returns a function that calls a command as its operator and returns what it
// prints.
func asOperator(t *testing.T) func(command func(p app.Process) error) (string, error) {
	t.Helper()
	const admin = "key-of-the-operator-of-tests"
	url := start(t, "KAA_ADMIN_KEYS="+admin)
	return func(command func(p app.Process) error) (string, error) {
		out := new(testenv.Buffer)
		err := command(app.Process{Environ: app.Environment{"KAA_URL=" + url, "KAA_API_KEY=" + admin}, Stdout: out, Stderr: out})
		return out.String(), err
	}
}

// TestQueuesAndRunners: `kaa queues` and `kaa runners` show what they do.
func TestQueuesAndRunners(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	queues := func(p app.Process) error { return cli.ListQueues(t.Context(), p) }
	runners := func(p app.Process) error { return cli.ListRunners(t.Context(), p) }
	change := func(how func(p app.Process) error, want string) {
		t.Helper()
		if out, err := call(how); err != nil || !strings.Contains(out, want) {
			t.Errorf("%v\n%s, want %q", err, out, want)
		}
	}
	change(func(p app.Process) error { return cli.ChangeQueue(t.Context(), p, "low", "pause") }, "low is paused; 0 jobs wait, 0 run")
	change(queues, "low       paused")
	change(queues, "default   open")
	change(func(p app.Process) error { return cli.ChangeQueue(t.Context(), p, "low", "resume") }, "low is open")
	out, err := call(runners)
	lines := strings.Split(out, "\n")
	if err != nil || len(lines) != 3 || !strings.Contains(lines[1], "takes jobs") {
		t.Fatalf("%v\n%s", err, out)
	}
	id, _, _ := strings.Cut(lines[1], " ")
	change(func(p app.Process) error { return cli.ChangeRunner(t.Context(), p, id, "drain") }, id+" takes nothing new")
	change(runners, "drained")
	change(func(p app.Process) error { return cli.ChangeRunner(t.Context(), p, id, "resume") }, id+" takes jobs again")
	if _, err := call(func(p app.Process) error { return cli.ChangeQueue(t.Context(), p, "none", "pause") }); err == nil || !strings.Contains(err.Error(), "no queue has this name") {
		t.Errorf("a queue that is not there: %v", err)
	}
}

// TestBulk: `kaa jobs cancel` and `purge` ask before they do anything, unless --yes.
func TestBulk(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	for range 2 {
		if _, err := call(func(p app.Process) error {
			return runProgram(t, p.Environ, new(testenv.Buffer), new(testenv.Buffer), cli.RunOptions{}, "print(42)")
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, what, answer, want, wrong string
		options                         cli.BulkOptions
	}{
		{name: "no", what: "purge", answer: "n\n", options: cli.BulkOptions{Queue: "default"}, want: "purge 2 jobs? [y/N]", wrong: "nothing was done"},
		{name: "no answer", what: "purge", options: cli.BulkOptions{Queue: "default"}, wrong: "nothing was done"},
		{name: "none", what: "purge", options: cli.BulkOptions{Queue: "default", Metadata: []string{"a=b"}}, want: "no job matches"},
		{name: "none so old", what: "purge", options: cli.BulkOptions{OlderThan: time.Hour}, want: "no job matches"},
		{name: "no filter", what: "cancel", options: cli.BulkOptions{Yes: true}, wrong: "name at least one of"},
		{name: "no value", what: "cancel", options: cli.BulkOptions{Metadata: []string{"a"}}, wrong: "NAME=VALUE"},
		{name: "yes", what: "purge", answer: "y\n", options: cli.BulkOptions{States: []string{"completed"}}, want: "purge: 2 jobs"},
		{name: "without a question", what: "cancel", options: cli.BulkOptions{Queue: "low", Yes: true}, want: "no job matches"},
	} {
		tt.options.Stdin = strings.NewReader(tt.answer)
		out, err := call(func(p app.Process) error { return cli.ChangeJobs(t.Context(), p, tt.what, tt.options) })
		if !strings.Contains(out, tt.want) || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
	}
}

// TestConfig: `kaa config` prints the settings that were changed, without secrets.
func TestConfig(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	out, err := call(func(p app.Process) error { return cli.ShowConfig(t.Context(), p, false) })
	if err != nil || !strings.Contains(out, "KAA_ADMIN_KEYS=***\n") || strings.Contains(out, "KAA_KILL_GRACE") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := call(func(p app.Process) error { return cli.ShowConfig(t.Context(), p, true) }); err != nil || !strings.Contains(out, "KAA_KILL_GRACE=2s\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRerunJob: `kaa jobs rerun` prints the id of the new job.
func TestRerunJob(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	rerun := func(id string) (string, error) {
		return call(func(p app.Process) error { return cli.RerunJob(t.Context(), p, id) })
	}
	submit := func(p app.Process) error {
		url, key := strings.TrimPrefix(p.Environ[0], "KAA_URL="), strings.TrimPrefix(p.Environ[1], "KAA_API_KEY=")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/jobs", strings.NewReader(`{"code":"1"}`))
		if err != nil {
			return err
		}
		req.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {"application/json"}}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var made struct{ ID string }
		err = json.NewDecoder(res.Body).Decode(&made)
		_, _ = p.Stdout.Write([]byte(made.ID))
		return err
	}
	id, err := call(submit)
	if err != nil {
		t.Fatal(err)
	}
	again := ""
	testenv.Eventually(t, "the job has ended and runs again", func() bool {
		again, err = rerun(id)
		return err == nil
	})
	if again = strings.TrimSpace(again); len(again) != len(id) || again == id {
		t.Errorf("%q is the rerun of %q", again, id)
	}
	if _, err := rerun("x"); err == nil || !strings.Contains(err.Error(), "no job") {
		t.Errorf("no job: %v", err)
	}
}
