package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestUsage: `kaa usage` prints a line for each day and tenant, and JSON.
func TestUsage(t *testing.T) {
	t.Parallel()
	environ := app.Environment{"KAA_URL=" + start(t)}
	var stdout, stderr testenv.Buffer
	if err := runProgram(t, environ, &stdout, &stderr, cli.RunOptions{}, "print(42)"); err != nil {
		t.Fatal(err)
	}
	show := func(o cli.UsageOptions) (string, error) {
		var out testenv.Buffer
		err := cli.ShowUsage(t.Context(), app.Process{Environ: environ, Stdout: &out, Stderr: &stderr}, o)
		return out.String(), err
	}
	table, err := show(cli.UsageOptions{})
	table, present, _ := strings.Cut(table, "\n\n")
	if fields := strings.Fields(present); len(fields) < 6 || fields[0] != "BOUND" || !strings.Contains(present, "\nsessions ") || !strings.Contains(present, "\nmemory of sessions") {
		t.Errorf("present use: %s", present)
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "DAY") {
		t.Fatalf("%v\n%s", err, table)
	}
	if f := strings.Fields(lines[1]); f[1] != "-" || f[2] != "1" {
		t.Errorf("%s", table)
	}
	text, err := show(cli.UsageOptions{JSON: true})
	var entry struct{ Executions int }
	if err != nil || json.Unmarshal([]byte(text), &entry) != nil || entry.Executions != 1 {
		t.Errorf("%v\n%s", err, text)
	}
	if table, err := show(cli.UsageOptions{From: "2000-01-01", To: "2000-01-31"}); err != nil || strings.Count(table, "20") != 0 && strings.Contains(table, "2000-") {
		t.Errorf("a month without figures: %v\n%s", err, table)
	}
	if _, err := show(cli.UsageOptions{From: "yesterday"}); err == nil || !strings.Contains(err.Error(), "2026-01-31") {
		t.Errorf("no date: %v", err)
	}
}
