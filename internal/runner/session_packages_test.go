package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/kaa-run/kaa/internal/job"
)

// addedPackages are packages whose installation waits for a token.
type addedPackages struct {
	fakePackages
	tokens chan struct{}

	mu      sync.Mutex
	copying int
	most    int // copied at once
	copied  int
}

func (f *addedPackages) Take(ctx context.Context, _ string, spec job.PackageSpec, use func(func(io.Writer) error) error) error {
	if spec.Owner != f.spec.Owner {
		return fmt.Errorf("packages of %q are added to a session of %q", spec.Owner, f.spec.Owner)
	}
	select {
	case <-f.tokens:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return use(func(io.Writer) error { return nil })
}

// packageFiles are the files of a session into which packages are copied, each copy when a token comes.
type packageFiles struct {
	job.FileSystem
	*addedPackages
	steps chan struct{}
}

func (packageFiles) Stat(string) (job.Entry, error) { return job.Entry{}, job.ErrNoFile }

func (packageFiles) MakeDir(string, uint32, bool) (job.Entry, error) { return job.Entry{}, nil }

func (packageFiles) Remove(context.Context, string, bool) error { return nil }

func (f packageFiles) Unpack(ctx context.Context, _ string, _ int64, content io.Reader) (int, int64, error) {
	f.mu.Lock()
	f.copying++
	f.most = max(f.most, f.copying)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.copying--
	}()
	select {
	case <-f.steps:
	case <-ctx.Done():
		return 0, 0, context.Cause(ctx)
	}
	_, err := io.Copy(io.Discard, content)
	return 0, 0, err
}

func (f packageFiles) Move(context.Context, string, string, bool, bool) (job.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copied++
	return job.Entry{}, nil
}

// TestPackagesInContexts: an execution in a context waits for its packages before its code begins. They are copied one set at a time, and the
// end of the context, or of the sandbox, ends the wait and the copy.
func TestPackagesInContexts(t *testing.T) {
	t.Parallel()
	pip := func(code string) job.Spec { return job.Spec{Code: code, Packages: []string{code}} }
	restart := job.Spec{Op: job.OpRestart}
	for name, tt := range map[string]struct {
		do   func(w *laneWorld, p *addedPackages, f packageFiles)
		ends map[string]string // of the codes in the contexts a and b
		most int
	}{
		"both": {func(_ *laneWorld, p *addedPackages, f packageFiles) {
			p.tokens <- struct{}{}
			p.tokens <- struct{}{}
			synctest.Wait()
			f.steps <- struct{}{}
			f.steps <- struct{}{}
		}, map[string]string{"x": "completed 2", "y": "completed 3"}, 1},
		"deleted": {func(w *laneWorld, p *addedPackages, f packageFiles) {
			synctest.Wait()
			w.add(job.Beside("2"), job.Spec{Op: job.OpDeleteContext, Args: json.RawMessage(`{"id":"a"}`)})
			synctest.Wait()
			p.tokens <- struct{}{}
			f.steps <- struct{}{}
		}, map[string]string{"x": "failed context_not_found", "y": "completed 3"}, 1},
		"restarted while installed": {func(w *laneWorld, _ *addedPackages, _ packageFiles) {
			synctest.Wait()
			w.add(job.LaneDefault, restart)
		}, map[string]string{"x": "failed context_not_found", "y": "failed context_not_found"}, 0},
		"restarted while copied": {func(w *laneWorld, p *addedPackages, _ packageFiles) {
			p.tokens <- struct{}{}
			p.tokens <- struct{}{}
			synctest.Wait()
			w.add(job.LaneDefault, restart)
		}, map[string]string{"x": "failed refused", "y": "failed refused"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &addedPackages{tokens: make(chan struct{})}
				w := newLaneWorldWith(t, p)
				w.spec.Owner, w.spec.Packages = "@mine", []string{"own"}
				f := packageFiles{addedPackages: p, steps: make(chan struct{})}
				w.interpreters.system = f
				for _, c := range []string{"a", "b"} {
					w.add(job.Beside(c), job.Spec{Op: job.OpMakeContext, Args: json.RawMessage(`{"id":"` + c + `"}`)})
					synctest.Wait()
				}
				w.add(job.LaneOfContext("a"), pip("x"))
				w.add(job.LaneOfContext("b"), pip("y"))
				tt.do(w, p, f)
				synctest.Wait()
				for id, want := range tt.ends {
					w.laneStore.mu.Lock()
					got := w.ends[id]
					w.laneStore.mu.Unlock()
					if !strings.HasPrefix(got, want) {
						t.Errorf("%s: %q, want %q", id, got, want)
					}
				}
				if p.most != tt.most {
					t.Errorf("%d copied at once, want %d", p.most, tt.most)
				}
				if p.spec.Owner != "@mine" || !slices.Equal(p.spec.Packages, w.spec.Packages) {
					t.Errorf("the session has asked for %+v", p.spec)
				}
				w.SessionClosed("s")
				if err := w.AwaitSessions(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
