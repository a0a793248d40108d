package runner_test

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// health is the health that a test gives to a runner's interpreters.
type health struct {
	mu  sync.Mutex
	err error
}

func (h *health) set(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

func (h *health) get() map[string]error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return map[string]error{"py": h.err}
}

func healthy() job.Runner {
	return job.Runner{ID: "other", MaxSessions: 5, Runtimes: []job.Runtime{{Name: "py", Default: true}}}
}

// TestPassedOn: a job for which no interpreter could be started fails only after StartPatience, only
// while none can be started here, and only if no other runner can start one.
func TestPassedOn(t *testing.T) {
	t.Parallel()
	sick := healthy()
	sick.Sick = "like me"
	draining := healthy()
	draining.Draining = true
	other := healthy()
	other.Runtimes = []job.Runtime{{Name: "other", Default: true}}
	half := healthy()
	half.Runtimes[0].Sick = "not this one"
	const failed = "failed: start_failed: no runner could start a Python interpreter for it within 1m0s; what failed: user namespace"
	for _, tt := range []struct {
		name     string
		others   []job.Runner
		recovers bool
		want     []string
	}{
		{"alone", nil, false, []string{failed}},
		{"with others who are sick, drain or have other runtimes", []job.Runner{sick, draining, other, half}, false, []string{failed}},
		{"with a healthy one", []job.Runner{sick, healthy()}, false, nil},
		{"alone, but it recovers", nil, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, h := &fakeStore{others: tt.others}, new(health)
				h.set(noPython())
				self := healthy()
				self.ID = "r"
				r := runner.New(runner.Config{
					Self: self, Records: s, Registry: s, Workers: &fakeWorkers{err: noPython()}, Observer: noObserver{},
					Log: slog.New(slog.DiscardHandler), Health: h.get,
				})
				if err := r.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if err := r.Handle(t.Context(), "j", "py"); !errors.Is(err, job.ErrNoWorker) {
						t.Errorf("Handle: %v", err)
					}
				}
				<-time.After(55 * time.Second)
				if tt.recovers {
					h.set(nil)
				}
				<-time.After(time.Minute)
				if diff := cmp.Diff(append([]string{"not started: j"}, tt.want...), s.log()); diff != "" {
					t.Errorf("did (-want +got):\n%s", diff)
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSickIsTold: the registry learns at once that a runner can start nothing, and that it can
// again.
func TestSickIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := new(fakeStore), new(health)
		r := runner.New(runner.Config{
			Self: healthy(), Records: s, Registry: s, Workers: &fakeWorkers{}, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler), Health: h.get,
		})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{noPython(), nil} {
			h.set(err)
			r.HealthChanged()
			synctest.Wait()
			s.mu.Lock()
			got := s.sick
			s.mu.Unlock()
			if (got != "") != (err != nil) || r.Unhealthy() != got {
				t.Errorf("it says %q for %v", got, err)
			}
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestSessionOfUnhealthyRunner: a session that has no interpreter yet moves to a runner that can
// start one. It waits while there is none, and ends if no runner could for StartPatience.
func TestSessionOfUnhealthyRunner(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		spec     job.Spec
		others   []job.Runner
		recovers bool
		outcomes []string
		moved    []string
	}{
		{"code moves", job.Spec{Code: "a"}, []job.Runner{healthy()}, false, nil, []string{"a to other"}},
		{"an operation moves", job.Spec{Op: "echo"}, []job.Runner{healthy()}, false, nil, []string{"echo to other"}},
		{"code waits", job.Spec{Code: "a"}, nil, true, []string{"completed 1"}, nil},
		{
			"it ends",
			job.Spec{Code: "a"},
			nil, false,
			[]string{"failed session_ended: no runner could start a Python interpreter for it within 1m0s; what failed: user namespace"},
			nil,
		},
		{"a restart needs none", job.Spec{Op: "restart"}, nil, false, []string{"completed {}"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, interpreters := new(health), new(fakeInterpreters)
				h.set(noPython())
				records := &fakeSession{waiting: []job.Spec{tt.spec}, outcomes: make(chan job.Outcome, 10)}
				r := sessionRunnerOf(records, interpreters, &fakeStore{others: tt.others}, h.get)
				r.SessionReady("s", job.LaneDefault)
				<-time.After(30 * time.Second)
				if tt.recovers {
					h.set(nil)
				}
				<-time.After(time.Minute)
				synctest.Wait()
				close(records.outcomes)
				var outcomes []string
				for o := range records.outcomes {
					outcomes = append(outcomes, describe(o))
				}
				if !slices.Equal(outcomes, tt.outcomes) || !slices.Equal(records.moved, tt.moved) {
					t.Errorf("outcomes %q, moved %q; want %q and %q", outcomes, records.moved, tt.outcomes, tt.moved)
				}
				if r.Sessions() != min(1, interpreters.started) {
					t.Errorf("it has %d sessions", r.Sessions())
				}
			})
		})
	}
}
