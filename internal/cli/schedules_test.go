package cli_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// TestSchedules: `kaa schedules` makes a schedule, runs it, and shows what it does.
func TestSchedules(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	create := func(text string) func(p app.Process) error {
		return func(p app.Process) error { return cli.CreateSchedule(t.Context(), p, "-", strings.NewReader(text)) }
	}
	out, err := call(create(`{"name": "report", "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "job": {"code": "print(42)"}}`))
	id := strings.TrimSpace(out)
	if err != nil || len(id) != 36 {
		t.Fatalf("created: %v %q", err, out)
	}
	change := func(what string) func(p app.Process) error {
		return func(p app.Process) error { return cli.ChangeSchedule(t.Context(), p, id, what) }
	}
	list := func(p app.Process) error { return cli.ListSchedules(t.Context(), p) }
	ran, err := call(change("run"))
	if err != nil || len(strings.TrimSpace(ran)) != 36 {
		t.Errorf("run: %v %q", err, ran)
	}
	for _, step := range []struct {
		do   func(p app.Process) error
		want string
	}{
		{list, strings.TrimSpace(ran)},
		{change("pause"), id + ": next run paused"},
		{list, "paused"},
		{change("resume"), id + ": next run 20"},
		{list, "report  30 2 * * *  Europe/Berlin"},
		{func(p app.Process) error { return cli.DeleteSchedule(t.Context(), p, id) }, id + " is deleted"},
	} {
		if out, err := call(step.do); err != nil || !strings.Contains(out, step.want) {
			t.Errorf("%v\n%s, want %q", err, out, step.want)
		}
	}
	for want, bad := range map[string]func(p app.Process) error{
		"never comes":  create(`{"cron": "0 0 31 2 *", "job": {"code": "1"}}`),
		"no schedule":  change("pause"),
		"no such file": func(p app.Process) error { return cli.CreateSchedule(t.Context(), p, t.TempDir()+"/none", nil) },
	} {
		if _, err := call(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
