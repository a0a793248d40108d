package sandbox

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestThrottle: however many processes are busy while they may run, over time they get their
// share.
func TestThrottle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		share, busy float64 // processors
		least, most time.Duration
	}{
		{"less than it may", 0.5, 0.4, 4 * time.Second, 4 * time.Second},
		{"as much as it may", 1, 1, 10 * time.Second, 10 * time.Second},
		{"twice", 0.5, 1, 4900 * time.Millisecond, 5300 * time.Millisecond},
		{"many", 0.1, 4, 900 * time.Millisecond, 1300 * time.Millisecond},
	} {
		now, used := time.Now(), time.Duration(0)
		throttle := NewThrottle(job.Quota{CPUs: tt.share})
		if throttle == nil {
			t.Logf("%s: this machine has no more processors", tt.name)
			continue
		}
		for range 400 { // 10 s
			step := 25 * time.Millisecond
			if !throttle.Over(now, used) {
				used += time.Duration(tt.busy * float64(step))
			}
			now = now.Add(step)
		}
		if used < tt.least-time.Millisecond || used > tt.most {
			t.Errorf("%s: %s in 10 s", tt.name, used)
		}
	}
}
