package interpreter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// TestKillAtTimeout: the end of the time kills at once, where it is asked for: the program does not learn of it.
func TestKillAtTimeout(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := shared(t, withLevel(level))
		for name, spec := range map[string]job.Spec{
			"code":      {Code: "import signal\nsignal.signal(signal.SIGINT, lambda *_: print('told', flush=True))\nwhile True: signal.pause()"},
			"a command": {Command: &job.Command{Line: "trap 'echo told' INT; while :; do sleep 0.01; done"}},
		} {
			spec.Timeout, spec.KillAtTimeout = 500*time.Millisecond, true
			if res := execute(t, pool, spec); res.Status != job.StatusInterrupted || res.Limit != job.LimitTimeout || strings.Contains(res.Stdout, "told") {
				t.Errorf("%s: %s, limit %q, stdout %q", name, res.Status, res.Limit, res.Stdout)
			}
		}
	})
}
