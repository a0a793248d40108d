package interpreter

import (
	"testing"
	"testing/synctest"
	"time"
)

// pauseFor has a pause take a while.
func (p *pausing) pauseFor(d time.Duration) {
	p.mu.Lock()
	p.begin()
	p.mu.Unlock()
	time.Sleep(d)
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
}

// TestTimersStandStill: the time of a pause does not count for what a command or an execution waits for.
func TestTimersStandStill(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		pauses []time.Duration // each after a second
		limit  time.Duration
		ends   time.Duration // of its context; 0 is never
		want   time.Duration
		why    string
	}{
		{"no pause", nil, 5 * time.Second, 0, 5 * time.Second, "timeout"},
		{"a pause", []time.Duration{time.Hour}, 5 * time.Second, 0, time.Hour + 5*time.Second, "timeout"},
		{"two pauses", []time.Duration{time.Hour, time.Minute}, 5 * time.Second, 0, time.Hour + time.Minute + 5*time.Second, "timeout"},
		{"no limit", []time.Duration{time.Hour}, 0, 2 * time.Hour, 2 * time.Hour, "done"},
		{"an end during the pause waits", []time.Duration{time.Hour}, 5 * time.Second, 2 * time.Second, time.Hour + time.Second, "done"},
		{"an end before it", []time.Duration{time.Hour}, 5 * time.Second, time.Second / 2, time.Second / 2, "done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, done, began := newPausing(), make(chan struct{}), time.Now()
				if tt.ends > 0 {
					time.AfterFunc(tt.ends, func() { close(done) })
				}
				go func() {
					for _, d := range tt.pauses {
						time.Sleep(time.Second)
						p.pauseFor(d)
					}
				}()
				s := p.standstill(done, tt.limit)
				why := ""
				for why == "" {
					select {
					case <-s.timeout.C:
						why = "timeout"
					case <-s.grace.C:
						why = "grace"
					case <-s.done:
						why = "done"
					case <-s.begins:
						s.begin()
					case <-s.ends:
						s.end()
					}
				}
				if took := time.Since(began); why != tt.why || took != tt.want {
					t.Errorf("%s after %s, want %s after %s", why, took, tt.why, tt.want)
				}
				s.stop()
				time.Sleep(3 * time.Hour) // of the pauses
			})
		})
	}
}

// TestNoPauseWhileAsked: no pause begins between a request to a process of the sandbox and its answer, and none is made during a
// pause.
func TestNoPauseWhileAsked(t *testing.T) {
	t.Parallel()
	p := newPausing()
	first, second := p.ask(), p.ask()
	first()
	if p.answering.TryLock() {
		t.Fatal("a pause begins before all is answered")
	}
	second()
	if !p.answering.TryLock() {
		t.Fatal("no pause begins")
	}
	if p.answering.TryRLock() {
		t.Error("a request is made during a pause")
	}
	(*pausing)(nil).ask()()
}
