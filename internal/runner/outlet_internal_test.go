package runner

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// fakeOutput has one follower, which takes what the test says.
type fakeOutput struct {
	CommandRecords
	mu       sync.Mutex
	taken    uint64
	written  uint64
	down     bool // it does not answer
	ended    bool
	followed bool
	pids     []int // that were recorded
	marks    []int // the pids in the marks of followers
}

func (f *fakeOutput) CommandStarted(_ context.Context, _ job.Claim, pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return job.ErrUnavailable
	}
	f.pids = append(f.pids, pid)
	return nil
}

// TestPidIsRecorded: at once if a caller waits for it, and otherwise only if the command takes long.
func TestPidIsRecorded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		background bool
		down       bool // at first
		ends       time.Duration
		want       []int // when it has ended
	}{
		{"in the background", true, false, 0, []int{7}},
		{"a short one", false, false, pidLater / 2, nil},
		{"a longer one", false, false, 2 * pidLater, []int{7}},
		{"without a store at first", true, true, time.Minute, []int{7}},
		{"a short one without a store", true, true, pidLater / 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeOutput{down: tt.down}
				o := newOutlet(f, job.Claim{Spec: job.Spec{Command: &job.Command{Background: tt.background}}}, slog.New(slog.DiscardHandler))
				o.Started(7)
				if tt.ends > time.Second {
					time.Sleep(time.Second)
					f.set(func() { f.down = false })
				}
				time.Sleep(tt.ends)
				o.end()
				f.set(func() { f.down = false })
				time.Sleep(time.Hour)
				if !slices.Equal(f.pids, tt.want) {
					t.Errorf("recorded %v, want %v", f.pids, tt.want)
				}
			})
		})
	}
}

func (f *fakeOutput) AttachOutput(_ context.Context, _ job.Claim, _ string, at uint64, pid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marks = append(f.marks, pid)
	f.taken, f.written, f.followed = at, at, true
	return nil
}

func (f *fakeOutput) AppendOutput(_ context.Context, _ job.Claim, _ bool, out ...job.CommandOutput) (uint64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return 0, false, job.ErrUnavailable
	}
	for _, o := range out {
		f.written, f.ended = o.At, o.Kind == job.OutputEnd
	}
	return f.taken, f.followed, nil
}

func (f *fakeOutput) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeOutput) has() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written
}

// TestEarlyFollowers: a follower that comes before the process of the command gets the pid with its mark.
func TestEarlyFollowers(t *testing.T) {
	t.Parallel()
	for _, starts := range []bool{true, false} {
		f := new(fakeOutput)
		o := newOutlet(f, job.Claim{Spec: job.Spec{Command: &job.Command{}}}, slog.New(slog.DiscardHandler))
		o.attach("a")
		o.attach("a") // it asks again
		if len(f.marks) != 0 {
			t.Errorf("marks before the process: %v", f.marks)
		}
		want := []int{0}
		if starts {
			o.Started(7)
			o.attach("b")
			want = []int{7, 7}
		}
		o.end()
		if !slices.Equal(f.marks, want) || !f.ended {
			t.Errorf("marks %v, want %v; ended: %v", f.marks, want, f.ended)
		}
	}
}

// TestOutletWaits: a command waits for its slowest follower, and for a Redis that is away, but its end does not.
func TestOutletWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeOutput)
		o := newOutlet(f, job.Claim{Spec: job.Spec{Command: &job.Command{}}}, slog.New(slog.DiscardHandler))
		piece := make([]byte, 64<<10)
		o.Stream("stdout", piece)
		if f.has() != 0 {
			t.Error("output without followers was written")
		}
		o.Started(7)
		o.attach("a")
		var pump sync.WaitGroup
		pump.Go(func() {
			for range 100 {
				o.Stream("stdout", piece)
			}
		})
		synctest.Wait()
		if n := f.has(); n < job.OutputWindow || n > job.OutputWindow+uint64(len(piece))+1 {
			t.Errorf("%d bytes wait for the follower", n)
		}
		f.set(func() { f.taken = f.written })
		o.wake()
		synctest.Wait()
		n := f.has()
		if n < 2*job.OutputWindow || n > 2*job.OutputWindow+2*uint64(len(piece)) {
			t.Errorf("%d bytes were written after it took all", n)
		}
		f.set(func() { f.taken, f.down = f.written, true })
		o.wake()
		synctest.Wait()
		if f.has() != n {
			t.Error("output was written while Redis was away")
		}
		f.set(func() { f.down = false })
		o.Finish()
		pump.Wait()
		o.end()
		if want := uint64(100*len(piece) + 2); f.has() != want || !f.ended {
			t.Errorf("%d bytes were written in all, want %d; ended: %v", f.has(), want, f.ended)
		}
		f.set(func() { f.followed = false })
		o.attach("b")
		f.set(func() { f.followed = false })
		o.Stream("stdout", piece)
		if o.on.Load() {
			t.Error("the outlet goes on without followers")
		}
	})
}
