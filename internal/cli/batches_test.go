package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// TestBatches: `kaa batches` submits lines, shows their progress, and prints results until the end.
func TestBatches(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	ok := func(command func(p app.Process) error) string {
		t.Helper()
		out, err := call(command)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}
	submit := func(lines string, o cli.BatchOptions) func(p app.Process) error {
		o.Stdin = strings.NewReader(lines)
		return func(p app.Process) error { return cli.SubmitBatch(t.Context(), p, "-", o) }
	}
	out := ok(submit("{\"code\":\"print(42)\"}\nnonsense\n{\"code\":\"1/0\"}\n", cli.BatchOptions{Name: "first", SkipBad: true}))
	warning, id, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if !strings.Contains(warning, "1 lines were left out") || len(id) != 36 {
		t.Fatalf("submitted: %q", out)
	}
	results := func(o cli.ResultOptions) string {
		return ok(func(p app.Process) error { return cli.BatchResults(t.Context(), p, id, o) })
	}
	all := results(cli.ResultOptions{Follow: true})
	if lines := strings.Split(strings.TrimSpace(all), "\n"); len(lines) != 3 || !strings.Contains(lines[0], `42\n`) || !strings.Contains(lines[2], "ZeroDivisionError") {
		t.Errorf("results:\n%s", all)
	}
	if failed := results(cli.ResultOptions{Status: []string{"error"}, Order: "completion"}); strings.Count(failed, "\n") != 1 || !strings.Contains(failed, "ZeroDivisionError") {
		t.Errorf("results with errors:\n%s", failed)
	}
	if out := ok(func(p app.Process) error { return cli.ShowBatch(t.Context(), p, id) }); !strings.Contains(out, id+" is completed: 3 jobs, 0 wait, 0 run, 1 ok, 1 error, 1 refused") {
		t.Errorf("progress: %s", out)
	}
	if out := ok(func(p app.Process) error { return cli.ListBatches(t.Context(), p) }); !strings.Contains(out, "first") || !strings.Contains(out, "completed") {
		t.Errorf("list:\n%s", out)
	}
	path := filepath.Join(t.TempDir(), "jobs.ndjson")
	if err := os.WriteFile(path, []byte("{\"code\":\"import time; time.sleep(600)\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id = strings.TrimSpace(ok(func(p app.Process) error { return cli.SubmitBatch(t.Context(), p, path, cli.BatchOptions{}) }))
	if out := ok(func(p app.Process) error { return cli.CancelBatch(t.Context(), p, id) }); !strings.Contains(out, "is being cancelled") {
		t.Errorf("cancel: %s", out)
	}
	if out := results(cli.ResultOptions{Follow: true}); !strings.Contains(out, `"cancelled"`) {
		t.Errorf("cancelled: %s", out)
	}
	for name, bad := range map[string]func(p app.Process) error{
		"unknown field": submit("{\"kode\":\"1\"}", cli.BatchOptions{}),
		"no such file":  func(p app.Process) error { return cli.SubmitBatch(t.Context(), p, path+"x", cli.BatchOptions{}) },
		"no batch has": func(p app.Process) error {
			return cli.ShowBatch(t.Context(), p, "01a228d8-1473-8d72-8f12-e6162b000000")
		},
		"query.cursor": func(p app.Process) error { return cli.BatchResults(t.Context(), p, id, cli.ResultOptions{Cursor: "x"}) },
		"query.status": func(p app.Process) error {
			return cli.BatchResults(t.Context(), p, id, cli.ResultOptions{Status: []string{"odd"}})
		},
	} {
		if _, err := call(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
