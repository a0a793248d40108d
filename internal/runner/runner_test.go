package runner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// fakeStore is what a runner needs of the store, with the answers that a test sets.
type fakeStore struct {
	beat       func(job.Runner) // is called by each heartbeat, if it is set
	mu         sync.Mutex
	claimErrs  []error       // one per call, then none
	claimTakes time.Duration // the first
	finishErrs []error
	spec       job.Spec
	ended      []job.Outcome // that were finished
	filled     bool          // a claim brings jobs into the outbox
	cancelled  bool          // the owner's flag is set
	lost       bool
	held       []job.Claim
	drained    bool // an operator asks for it
	beats      int
	sick       string // of the last heartbeat
	noFiles    bool   // of the last heartbeat
	others     []job.Runner
	// firstUnstarted is when a job was first not started.
	firstUnstarted time.Time
	packages       []string // of every job
	did            []string
}

func (f *fakeStore) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

func (f *fakeStore) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did)
}

func (f *fakeStore) next(errs *[]error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (f *fakeStore) Claim(_ context.Context, id, runner, session string) (job.Claim, error) {
	if takes := f.claimTakes; takes > 0 {
		f.claimTakes = 0
		<-time.After(takes)
	}
	return job.Claim{JobID: id, Runner: runner, SessionID: session, Attempt: 1, Waited: 5 * time.Millisecond, Filled: f.filled, Spec: f.spec}, f.next(&f.claimErrs)
}

func (f *fakeStore) Finish(_ context.Context, _ job.Claim, o job.Outcome) error {
	if err := f.next(&f.finishErrs); err != nil {
		return err
	}
	f.ended = append(f.ended, o)
	f.note("%s %s, result of %s, queued %g ms", o.State, o.Result.Status, o.Result.JobID, o.Result.QueuedMs)
	return nil
}

func (f *fakeStore) GiveBack(_ context.Context, c job.Claim, fail job.Failure) (job.State, error) {
	f.mu.Lock()
	f.held = slices.DeleteFunc(f.held, func(held job.Claim) bool { return held.JobID == c.JobID })
	f.mu.Unlock()
	f.note("given back: %s %s", c.JobID, fail.Code)
	return job.Queued, nil
}

func (f *fakeStore) Reject(_ context.Context, _ string, fail job.Failure) error {
	if strings.Contains(fail.Message, `"py"`) {
		f.note(`rejected: %s, …"py"…`, fail.Code)
		return nil
	}
	f.note("rejected: %s", fail.Code)
	return nil
}

func (f *fakeStore) Unstarted(_ context.Context, id string, after time.Duration, fail job.Failure) (job.State, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.firstUnstarted.IsZero() {
		f.firstUnstarted = time.Now()
		f.did = append(f.did, "not started: "+id)
	}
	if since := time.Since(f.firstUnstarted); after == 0 || since < after {
		return job.Queued, since, nil
	}
	f.did = append(f.did, fmt.Sprintf("failed: %s: %s", fail.Code, fail.Message))
	return job.Failed, 0, nil
}

func (f *fakeStore) Packages(context.Context, string) (job.PackageSpec, error) {
	return job.PackageSpec{Packages: f.packages}, nil
}

func (f *fakeStore) Unclaim(_ context.Context, c job.Claim) (job.State, error) {
	f.note("claim taken back: %s:%d", c.JobID, c.Attempt)
	return job.Queued, nil
}

func (f *fakeStore) Runners(context.Context) ([]job.Runner, error) {
	return slices.Clone(f.others), nil
}

func (f *fakeStore) Beat(_ context.Context, r job.Runner) error {
	if f.beat != nil {
		f.beat(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beats++
	f.sick, f.noFiles = r.Sick, r.NoFiles
	if r.Draining {
		f.did = append(f.did, "says that it drains")
	}
	return nil
}

func (f *fakeStore) Leave(context.Context, string) error { f.note("left"); return nil }

func (f *fakeStore) Revoked(_ context.Context, claims []job.Claim) (cancelled, lost, watched []job.Claim, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancelled {
		return claims, nil, nil, nil
	}
	if f.lost {
		return nil, claims, nil, nil
	}
	return nil, nil, nil, nil
}

func (f *fakeStore) Held(context.Context, string) ([]job.Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.held), nil
}

func (f *fakeStore) Drained(context.Context, string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drained, nil
}

func (f *fakeStore) Joined(context.Context, string) error { f.note("joined"); return nil }

func (f *fakeStore) SessionsUse(context.Context, string, map[string]int64, time.Duration) error {
	return nil
}

// fakeWorkers hands out one worker, which a test controls.
type fakeWorkers struct {
	err     error
	then    error // of the second and later calls
	execute func(context.Context) (job.Result, error)
	closed  int
	runtime string // that was asked for last
	put     []string
	putErr  error
	left    []string // paths that the code leaves, which are their contents, too
}

func (w *fakeWorkers) Acquire(_ context.Context, runtime string) (runner.Worker, error) {
	w.runtime = runtime
	if w.err != nil {
		return nil, w.err
	}
	w.err = w.then
	return w, nil
}

func noPython() error {
	return &job.StartError{Part: "user namespace", Err: errors.New("refused")}
}

func (w *fakeWorkers) SessionID() string { return "session" }
func (w *fakeWorkers) Close() error      { w.closed++; return nil }
func (w *fakeWorkers) Execute(ctx context.Context, _ job.Spec, _ job.Live) (job.Result, error) {
	return w.execute(ctx)
}

func (w *fakeWorkers) Put(path string, content io.Reader) error {
	text, err := io.ReadAll(content)
	w.put = append(w.put, path+": "+string(text))
	return errors.Join(err, w.putErr)
}

func (w *fakeWorkers) Collect(_ context.Context, most job.FileLimits, keep func(job.Found, io.Reader) error) (job.FilesDropped, error) {
	dropped := job.FilesDropped{}
	for _, f := range w.left {
		if err := keep(job.Found{Path: f, Size: int64(len(f))}, strings.NewReader(f)); err != nil || most.Files == 0 {
			dropped.Count++
			dropped.Reason = "not kept"
		}
	}
	return dropped, nil
}

type noObserver struct{}

func (noObserver) Executed(job.Claim, job.Outcome, time.Duration) {}

func (noObserver) Ended(job.State, job.FailureCode) {}

func ends(status job.Status) func(context.Context) (job.Result, error) {
	return func(context.Context) (job.Result, error) { return job.Result{Status: status}, nil }
}

// twoCases is a program with two cases, which have a minute together.
func twoCases() job.Spec {
	return job.Spec{Runtime: "py", Timeout: time.Minute, Cases: &job.Cases{Code: "1", List: []job.Case{{Name: "1", Timeout: time.Hour}, {Name: "2", Timeout: time.Hour}}}}
}

// blocks until it is interrupted.
func blocks(ctx context.Context) (job.Result, error) {
	<-ctx.Done()
	return job.Result{Status: job.StatusInterrupted}, nil
}

func TestHandle(t *testing.T) {
	t.Parallel()
	unavailable := fmt.Errorf("write: %w", job.ErrUnavailable)
	tests := []struct {
		name    string
		store   *fakeStore
		workers *fakeWorkers
		during  func(*runner.Runner, *fakeStore) // what happens a second into the execution
		want    []string
		wantErr bool
		took    time.Duration
	}{
		{
			name: "the code's end is the job's", workers: &fakeWorkers{execute: ends(job.StatusError)},
			want: []string{"completed error, result of j, queued 5 ms"},
		},
		{
			name: "the claim brings others into the outbox", store: &fakeStore{filled: true}, workers: &fakeWorkers{execute: ends(job.StatusOK)},
			want: []string{"filled", "completed ok, result of j, queued 5 ms"},
		},
		{
			name: "no worker", workers: &fakeWorkers{err: noPython()},
			want: []string{"not started: j"}, wantErr: true,
		},
		{name: "the pool is closed", workers: &fakeWorkers{err: errors.New("closed")}, wantErr: true},
		{
			name: "its worker died, and no other can be started", store: &fakeStore{spec: job.Spec{Runtime: "py"}}, workers: &fakeWorkers{
				execute: func(context.Context) (job.Result, error) { return job.Result{}, job.ErrNotStarted },
				then:    noPython(),
			},
			want: []string{"claim taken back: j:1", "not started: j"}, wantErr: true,
		},
		{
			name: "no such runtime", workers: &fakeWorkers{err: fmt.Errorf("acquire: %w", job.ErrNoRuntime)},
			want: []string{`rejected: runtime_missing, …"py"…`},
		},
		{name: "somebody else settled it", store: &fakeStore{claimErrs: []error{job.ErrStale}}, workers: &fakeWorkers{}},
		{
			name:  "it stood still after its claim, and the job was taken away",
			store: &fakeStore{claimTakes: 20 * time.Second, claimErrs: []error{nil, job.ErrStale}}, workers: &fakeWorkers{}, took: 20 * time.Second,
		},
		{
			name:  "it stood still after its claim, and the job is still its own",
			store: &fakeStore{claimTakes: 20 * time.Second}, workers: &fakeWorkers{execute: ends(job.StatusOK)},
			want: []string{"completed ok, result of j, queued 5 ms"}, took: 20 * time.Second,
		},
		{name: "its record is gone", store: &fakeStore{claimErrs: []error{job.ErrNotFound}}, workers: &fakeWorkers{}},
		{
			name: "Redis is away for a moment before the start", store: &fakeStore{claimErrs: []error{unavailable, unavailable}},
			workers: &fakeWorkers{execute: ends(job.StatusOK)}, want: []string{"completed ok, result of j, queued 5 ms"},
			took: 150 * time.Millisecond,
		},
		{
			name: "Redis is away before the start", store: &fakeStore{claimErrs: slices.Repeat([]error{unavailable}, 100)},
			workers: &fakeWorkers{}, wantErr: true, took: time.Minute,
		},
		{
			name: "the registration has lapsed", store: &fakeStore{claimErrs: []error{job.ErrUnregistered}},
			workers: &fakeWorkers{execute: ends(job.StatusOK)}, want: []string{"completed ok, result of j, queued 5 ms"},
		},
		{
			name: "Redis is away at the end", store: &fakeStore{finishErrs: []error{unavailable, unavailable, unavailable}},
			workers: &fakeWorkers{execute: ends(job.StatusOK)}, want: []string{"completed ok, result of j, queued 5 ms"},
			took: 350 * time.Millisecond,
		},
		{
			name: "cancelled by a message", workers: &fakeWorkers{execute: blocks},
			during: func(r *runner.Runner, _ *fakeStore) { r.Cancelled("other"); r.Cancelled("j") },
			want:   []string{"cancelled interrupted, result of j, queued 5 ms"}, took: 1500 * time.Millisecond,
		},
		{
			name: "cancelled by the flag", workers: &fakeWorkers{execute: blocks},
			during: func(_ *runner.Runner, s *fakeStore) { s.mu.Lock(); s.cancelled = true; s.mu.Unlock() },
			want:   []string{"cancelled interrupted, result of j, queued 5 ms"}, took: 2 * time.Second,
		},
		{
			name: "the claim was lost", workers: &fakeWorkers{execute: blocks},
			during: func(_ *runner.Runner, s *fakeStore) { s.mu.Lock(); s.lost = true; s.mu.Unlock() },
			took:   2 * time.Second,
		},
		{
			name: "cancelled, but the code ended by itself",
			workers: &fakeWorkers{execute: func(ctx context.Context) (job.Result, error) {
				<-ctx.Done()
				return job.Result{Status: job.StatusOK}, nil
			}},
			during: func(r *runner.Runner, _ *fakeStore) { r.Cancelled("j") },
			want:   []string{"completed ok, result of j, queued 5 ms"}, took: 1500 * time.Millisecond,
		},
		{
			name: "timed out", workers: &fakeWorkers{execute: ends(job.StatusInterrupted)},
			want: []string{"completed interrupted, result of j, queued 5 ms"},
		},
		{
			name: "the worker broke", workers: &fakeWorkers{execute: func(context.Context) (job.Result, error) { return job.Result{}, errors.New("x") }},
			want: []string{"given back: j worker_failed"},
		},
		{
			name: "cases, whose second run has no worker: the first one is not run again", store: &fakeStore{spec: twoCases()},
			workers: &fakeWorkers{execute: ends(job.StatusOK), then: noPython()}, want: []string{"given back: j worker_failed"},
		},
		{
			name: "cases, of which none has begun", store: &fakeStore{spec: twoCases()},
			workers: &fakeWorkers{execute: func(context.Context) (job.Result, error) { return job.Result{}, job.ErrNotStarted }, then: noPython()},
			want:    []string{"claim taken back: j:1", "not started: j"}, wantErr: true,
		},
		{
			name: "cases", store: &fakeStore{spec: twoCases()}, workers: &fakeWorkers{execute: ends(job.StatusOK)},
			want: []string{"completed ok, result of j, queued 5 ms"},
		},
		{
			name: "cases that are cancelled", store: &fakeStore{spec: twoCases()}, workers: &fakeWorkers{execute: blocks},
			during: func(r *runner.Runner, _ *fakeStore) { r.Cancelled("j") },
			want:   []string{"cancelled interrupted, result of j, queued 5 ms"}, took: 1500 * time.Millisecond,
		},
		{
			name: "cases whose time is up", store: &fakeStore{spec: twoCases()},
			workers: &fakeWorkers{execute: func(context.Context) (job.Result, error) {
				time.Sleep(time.Minute)
				return job.Result{Status: job.StatusOK}, nil
			}},
			want: []string{"completed interrupted, result of j, queued 5 ms"}, took: time.Minute,
		},
		{
			name: "the drain's time is up", workers: &fakeWorkers{execute: blocks},
			during: func(r *runner.Runner, _ *fakeStore) { r.EndExecutions() },
			want:   []string{"given back: j drained"}, took: 1500 * time.Millisecond,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.store == nil {
				tt.store = new(fakeStore)
			}
			synctest.Test(t, func(t *testing.T) {
				r := runner.New(runner.Config{
					Self: job.Runner{ID: "r"}, Records: tt.store, Registry: tt.store, Workers: tt.workers,
					Observer: noObserver{}, Log: slog.New(slog.DiscardHandler), Filled: func() { tt.store.note("filled") },
				})
				if err := r.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				started := time.Now()
				if tt.during != nil {
					// Half a second after a tick of the watch, so that it is not by chance.
					time.AfterFunc(1500*time.Millisecond, func() { tt.during(r, tt.store) })
				}
				err := r.Handle(t.Context(), "j", "py")
				if (err != nil) != tt.wantErr {
					t.Errorf("Handle: %v", err)
				}
				if took := time.Since(started); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if diff := cmp.Diff(tt.want, tt.store.log()); diff != "" {
					t.Errorf("did (-want +got):\n%s", diff)
				}
				if (tt.workers.err == nil || tt.workers.then != nil) && tt.workers.closed != 1 && (tt.store.spec.Cases == nil || tt.workers.closed < 2) {
					t.Errorf("worker was closed %d times", tt.workers.closed)
				}
				if tt.workers.runtime != "py" {
					t.Errorf("a worker of runtime %q was asked for", tt.workers.runtime)
				}
				if r.Active() != 0 {
					t.Errorf("%d active", r.Active())
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(fakeStore)
		r := runner.New(runner.Config{Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: &fakeWorkers{}, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler)})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(9 * time.Second)
		s.mu.Lock()
		beats := s.beats
		s.mu.Unlock()
		if beats != 5 {
			t.Errorf("%d heartbeats in 9 s, want 5", beats)
		}
		if err := r.BeginDrain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // closing twice is closing once
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff("says that it drains", s.log()[0]); diff != "" {
			t.Error(diff)
		}
	})
}

// TestDrainAfterASlowHeartbeat: a heartbeat that was made before a drain, and takes its time, does not undo its announcement.
func TestDrainAfterASlowHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow, older := make(chan struct{}, 1), make(chan struct{})
		var draining atomic.Bool // in the registry
		s := &fakeStore{beat: func(r job.Runner) {
			select {
			case <-slow:
				<-older
			default:
			}
			draining.Store(r.Draining)
		}}
		r := runner.New(runner.Config{Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: &fakeWorkers{}, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler)})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		slow <- struct{}{}
		r.HealthChanged()
		synctest.Wait()
		announced := make(chan error)
		go func() { announced <- r.BeginDrain(t.Context()) }()
		synctest.Wait()
		close(older)
		if err := <-announced; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !draining.Load() {
			t.Error("the registry has the older heartbeat")
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestForgottenClaims: what Redis holds for a live runner that does not execute it
// is given back; what it executes is not.
func TestForgottenClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{
			finishErrs: slices.Repeat([]error{fmt.Errorf("write: %w", job.ErrUnavailable)}, 1000),
			held:       []job.Claim{{JobID: "j", Attempt: 1}},
		}
		workers := &fakeWorkers{execute: ends(job.StatusOK)}
		r := runner.New(runner.Config{
			Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: workers, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler),
		})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Off the beat: this store holds "running" before it is claimed, which must not
		// meet a look.
		<-time.After(10*time.Second + 300*time.Millisecond)
		if did := s.log(); len(did) > 0 {
			t.Errorf("without a reason it did %v", did)
		}
		if err := r.Handle(t.Context(), "j", ""); err != nil { // its end cannot be written
			t.Fatal(err)
		}
		workers.execute = blocks
		s.mu.Lock()
		s.held = append(s.held, job.Claim{JobID: "running", Attempt: 1})
		s.mu.Unlock()
		running := make(chan error, 1)
		go func() { running <- r.Handle(t.Context(), "running", "") }()
		<-time.After(3 * time.Second)
		if diff := cmp.Diff([]string{"given back: j runner_lost"}, s.log()); diff != "" {
			t.Errorf("did (-want +got):\n%s", diff)
		}
		r.EndExecutions()
		if err := <-running; err != nil {
			t.Error(err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
