package sandbox

import (
	"runtime"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Throttle keeps the processes of a sandbox within a share of processors where no control
// group does: all of them stand still while they have used more than their share. It is a
// bucket of processor time that fills at the rate of the share.
type Throttle struct {
	share  float64       // processors
	most   time.Duration // that the bucket holds
	credit time.Duration
	used   time.Duration // when it was last looked at
	at     time.Time
}

const (
	// burst is for how long a share may be saved up.
	burst = 100 * time.Millisecond
	// tolerance is what the kernel's times of processes may be wrong by.
	tolerance = 20 * time.Millisecond
)

// NewThrottle returns nil if a share needs no keeping.
func NewThrottle(q job.Quota) *Throttle {
	if q.CPUs <= 0 || q.CPUs >= float64(runtime.NumCPU()) {
		return nil
	}
	most := time.Duration(q.CPUs*float64(burst)) + tolerance
	return &Throttle{share: q.CPUs, most: most, credit: most}
}

// Over takes what has been used so far, and reports whether that is more than the share.
func (t *Throttle) Over(now time.Time, used time.Duration) bool {
	if !t.at.IsZero() {
		t.credit += time.Duration(t.share*float64(now.Sub(t.at))) - (used - t.used)
		t.credit = min(t.credit, t.most)
	}
	t.at, t.used = now, used
	return t.credit < 0
}
