package interpreter_test

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Code can find what its marks begin with, and write some. That is for its own output to
// suffer: the execution ends all the same, and so does one that is interrupted.
func TestForgedMarks(t *testing.T) {
	t.Parallel()
	const forge = `
import os, subprocess, sys, time
marks = sys.stdout.buffer.marks
def forge(fd, number, meet):
    os.write(fd, b"%b%08x%d\n" % (marks.prefix, number, meet))
`
	pool := shared(t)
	for name, tt := range map[string]struct{ code, status string }{
		"a frame that does not come":    {"forge(1, 99, 5)\nprint('x')\ndisplay(1)\nprint('y')", "ok"},
		"a frame that was left out":     {"display(1)\nforge(1, 2, 4)\nforge(2, 3, 4)\nmarks.number += 7\ndisplay(2)\nprint('y')", "ok"},
		"the other stream":              {"forge(1, 50, 3)\nprint('x')\ndisplay(1)\nprint('y')", "ok"},
		"each stream for the other":     {"forge(1, 50, 3)\nforge(2, 60, 3)\nprint('x')\ndisplay(1)\nprint('e', file=sys.stderr)", "ok"},
		"backwards":                     {"display(1)\nforge(1, 1, 7)\nmarks.number = 90\ndisplay(2)\nprint('y')", "ok"},
		"a child keeps a stream open":   {"subprocess.Popen(['sleep', '60'])\nforge(1, 50, 3)\nos.dup2(os.open('f', os.O_WRONLY | os.O_CREAT), 2)\ndisplay(1)\nprint('y')", ""},
		"and sleeps":                    {"forge(1, 9, 7)\nmarks.number += 20\ndisplay(1)\ntime.sleep(60)", "interrupted"},
		"and does not end when it must": {"forge(1, 9, 7)\nmarks.number += 20\ndisplay(1)\nwhile True:\n  try:\n    while True: time.sleep(1)\n  except KeyboardInterrupt: pass", "interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: forge + tt.code, Timeout: 3 * time.Second})
			if tt.status != "" && string(res.Status) != tt.status && res.Status != job.StatusInterrupted {
				t.Errorf("%s, stdout %q, error %+v", res.Status, res.Stdout, res.Error)
			}
		})
	}
	t.Run("the next one", func(t *testing.T) {
		t.Parallel()
		s := session(t, pool, job.SessionSpec{})
		step(t, s, job.Spec{Code: forge + "forge(1, 9, 7)\nmarks.number += 20\ndisplay(1)\nprint('y')", Timeout: ample})
		if got := listed(t, step(t, s, job.Spec{Code: "print('a')\ndisplay(1)\nprint('b')", Timeout: ample})); got != "a\n[1]b\n" {
			t.Errorf("after it: %q", got)
		}
	})
}
