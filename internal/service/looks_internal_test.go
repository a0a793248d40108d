package service

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestLooks: one who waits in vain looks more and more seldom, and soon again after something has happened.
func TestLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l Looks
		defer l.Stop()
		for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			if i == 0 {
				l.Due()
			}
			began := time.Now()
			<-l.Due()
			if got := time.Since(began); got < want*time.Second*8/10 || got > want*time.Second*12/10 {
				t.Errorf("look %d came after %v, want %d s and a fifth more or less", i, got, want)
			}
			l.Seldomer()
		}
		l.Soon()
		began := time.Now()
		<-l.Due()
		if got := time.Since(began); got > 2*time.Second {
			t.Errorf("a look that was to be soon came after %v", got)
		}
	})
}

// quietJob is a job that waits, and counts who looks.
type quietJob struct {
	theirs
	Lookup
	looks int
}

func (q *quietJob) Events(context.Context, string, job.EventID, int) ([]job.Event, error) {
	q.looks++
	return nil, nil
}

func (q *quietJob) Get(context.Context, string) (job.Job, error) {
	q.looks++
	return job.Job{ID: "j", State: job.Scheduled}, nil
}

type endedRecords struct{ Records }

func (endedRecords) Cancel(context.Context, string) (job.State, error) { return "", job.ErrFinished }

// TestIdleWaits: those who follow a job that waits for an hour, or wait for its end, do not keep Redis busy.
func TestIdleWaits(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(*testing.T, *Service){
		"follower": func(t *testing.T, s *Service) {
			t.Helper()
			f := s.listen(Caller{}, "j", nil)
			defer f.Close()
			f.quiet = true
			for range 20 { // as a stream, which sends something every 15 seconds
				_, _ = f.Next(t.Context(), 15*time.Second)
			}
		},
		"call": func(t *testing.T, s *Service) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			told, forget := s.cfg.Hub.wait("j")
			defer forget()
			_, _ = s.awaitEnd(ctx, job.Job{ID: "j", Timeout: time.Hour}, told)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := &quietJob{}
				s := New(Config{
					Events: q, Lookup: q, Records: endedRecords{}, Notifier: silentNotifier{}, Hub: NewHub("h"), Answers: job.NewMemory(1 << 20),
					Background: new(sync.WaitGroup), SyncQueueWait: time.Hour,
				})
				began := time.Now()
				wait(t, s)
				s.cfg.Background.Wait()
				minutes := int(time.Since(began)/time.Minute) + 1
				if q.looks > 16*minutes {
					t.Errorf("%d looks in %d minutes", q.looks, minutes)
				}
			})
		})
	}
}

// TestMissedReports: when reports of ends may be lost, all who wait look, and still get the report that comes later.
func TestMissedReports(t *testing.T) {
	t.Parallel()
	h := NewHub("h")
	told, forget := h.wait("j")
	defer forget()
	h.Missed()
	h.Missed() // nobody has looked yet
	if r := <-told; r != nil {
		t.Fatalf("got %v, want nil, which makes it look", r)
	}
	h.Missed()
	h.Ended("j", &job.Result{SessionID: "s"})
	if r := <-told; r == nil || r.SessionID != "s" {
		t.Errorf("got %v, want the report of the end", r)
	}
	h.Missed() // it has ended
	select {
	case r := <-told:
		t.Errorf("told %v after the end", r)
	default:
	}
}
