package runner_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// fakeBlobs is a place for blobs, which may be away.
type fakeBlobs struct {
	mu    sync.Mutex
	blobs map[string]string
	err   error
	// readErr comes in place of the end of a blob.
	readErr error
}

type seekable struct {
	*bytes.Reader
	end error
}

func (s seekable) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && s.end != nil {
		err = s.end
	}
	return n, err
}

func (seekable) Close() error { return nil }

func (f *fakeBlobs) Put(_ context.Context, key string, content io.Reader) (int64, error) {
	text, err := io.ReadAll(content)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	f.blobs[key] = string(text)
	return int64(len(text)), err
}

func (f *fakeBlobs) Open(_ context.Context, key string) (io.ReadSeekCloser, error) {
	text, ok := f.blobs[key]
	if !ok {
		return nil, errors.Join(f.err, job.ErrNoFile)
	}
	return seekable{bytes.NewReader([]byte(text)), f.readErr}, nil
}

func (f *fakeBlobs) List(_ context.Context, prefix string, _ time.Time) ([]string, error) {
	return slices.Sorted(func(yield func(string) bool) {
		for key := range f.blobs {
			if strings.HasPrefix(key, prefix) && !yield(key) {
				return
			}
		}
	}), f.err
}

func (f *fakeBlobs) DeleteAll(_ context.Context, prefix string) error {
	maps.DeleteFunc(f.blobs, func(key, _ string) bool { return strings.HasPrefix(key, prefix) })
	return f.err
}

func handle(t *testing.T, s *fakeStore, w *fakeWorkers, blobs *fakeBlobs) {
	t.Helper()
	r := runner.New(runner.Config{
		Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: w, Blobs: blobs, Observer: noObserver{},
		Files: job.FileLimits{Files: 10, Bytes: 1000}, Log: slog.New(slog.DiscardHandler),
	})
	if err := r.Handle(t.Context(), "j-ab", ""); err != nil {
		t.Error(err)
	}
}

// TestFilesComeAndGo: a job's files are in place before its code begins, and the files that the
// code leaves are in the result.
func TestFilesComeAndGo(t *testing.T) {
	t.Parallel()
	s := &fakeStore{spec: job.Spec{Files: []job.Input{{Path: "a"}, {Path: "b/c"}}}}
	w := &fakeWorkers{left: []string{"z.csv", "a\xff"}}
	w.execute = func(context.Context) (job.Result, error) {
		if diff := cmp.Diff([]string{"a: one", "b/c: two"}, w.put); diff != "" {
			t.Errorf("put before the code (-want +got):\n%s", diff)
		}
		return job.Result{Status: job.StatusOK}, nil
	}
	blobs := &fakeBlobs{blobs: map[string]string{job.InputKey("j-ab", 0): "one", job.InputKey("j-ab", 1): "two"}}
	handle(t, s, w, blobs)
	want := []job.File{
		{Path: `a\xff`, Escaped: true, Size: 2, Type: "text/plain; charset=utf-8"}, {Path: "z.csv", Size: 5, Type: "text/csv; charset=utf-8"},
	}
	if diff := cmp.Diff(want, s.ended[0].Result.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, f := range want {
		if got := blobs.blobs[job.OutputKey("j-ab", 1, f.Raw())]; got != f.Raw() {
			t.Errorf("content of %s: %q", f.Path, got)
		}
	}
}

// TestFileTrouble: a job does not start without its files, and does not lose its result
// for those that it leaves.
func TestFileTrouble(t *testing.T) {
	t.Parallel()
	bring := job.Spec{Files: []job.Input{{Path: "a"}}}
	have := func() map[string]string { return map[string]string{job.InputKey("j-ab", 0): "one"} }
	for name, c := range map[string]struct {
		spec    job.Spec
		workers *fakeWorkers
		blobs   *fakeBlobs
		want    string
	}{
		"the files are not there": {bring, &fakeWorkers{}, &fakeBlobs{err: job.ErrUnavailable}, "given back: j-ab files_unavailable"},
		"the directory is full": {
			bring, &fakeWorkers{putErr: errors.New("no space")}, &fakeBlobs{blobs: have()}, "given back: j-ab files_unavailable",
		},
		"no worker takes them": {
			bring, &fakeWorkers{putErr: job.ErrNotStarted}, &fakeBlobs{blobs: have()}, "given back: j-ab worker_failed",
		},
		"nobody takes what is left": {
			job.Spec{},
			&fakeWorkers{left: []string{"x"}, execute: ends(job.StatusOK)}, &fakeBlobs{err: job.ErrUnavailable},
			"completed ok, result of j-ab, queued 5 ms",
		},
		"the storage breaks off": {bring, &fakeWorkers{}, &fakeBlobs{blobs: have(), readErr: io.ErrUnexpectedEOF}, "given back: j-ab files_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeStore{spec: c.spec}
			handle(t, s, c.workers, c.blobs)
			if diff := cmp.Diff([]string{c.want}, s.log()); diff != "" {
				t.Errorf("did (-want +got):\n%s", diff)
			}
			if len(s.ended) > 0 && (s.ended[0].Result.FilesDropped == nil || len(s.ended[0].Result.Files) > 0) {
				t.Errorf("result %+v says nothing of the lost file", s.ended[0].Result)
			}
		})
	}
}

// TestStoreOfOneRunner: a job whose files one runner cannot read costs no attempt while another runner
// seems able to read them.
func TestStoreOfOneRunner(t *testing.T) {
	t.Parallel()
	other := func(noFiles, draining bool) job.Runner {
		return job.Runner{ID: "o", Runtimes: []job.Runtime{{Name: "python", Default: true}}, NoFiles: noFiles, Draining: draining}
	}
	away := &fakeBlobs{err: job.ErrUnavailable}
	broken := &fakeBlobs{blobs: map[string]string{job.InputKey("j", 0): "one"}, readErr: io.ErrUnexpectedEOF}
	absent := &fakeBlobs{}
	for name, tt := range map[string]struct {
		blobs  *fakeBlobs
		others []job.Runner
		back   bool
	}{
		"another can":             {away, []job.Runner{other(false, false)}, true},
		"reading breaks off":      {broken, []job.Runner{other(true, false), other(false, false)}, true},
		"none can":                {away, []job.Runner{other(true, false)}, false},
		"the other stops":         {away, []job.Runner{other(false, true)}, false},
		"it is alone":             {away, nil, false},
		"the file does not exist": {absent, []job.Runner{other(false, false)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &fakeStore{spec: job.Spec{Files: []job.Input{{Path: "a"}}}, others: tt.others}
				r := runner.New(runner.Config{
					Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: &fakeWorkers{}, Blobs: tt.blobs, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler),
				})
				err := r.Handle(t.Context(), "j", "")
				want := []string{"given back: j files_unavailable"}
				if tt.back {
					want = []string{"claim taken back: j:1"}
				}
				if diff := cmp.Diff(want, s.log()); diff != "" || (err != nil) != tt.back {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
				if err := r.BeginDrain(t.Context()); err != nil || s.noFiles != (tt.blobs != absent) {
					t.Errorf("%v, other runners learn %v", err, s.noFiles)
				}
				time.Sleep(time.Minute)
				if err := r.BeginDrain(t.Context()); err != nil || s.noFiles {
					t.Errorf("%v, others learn %v after a minute", err, s.noFiles)
				}
			})
		})
	}
}

// fakeKept are the records as a cleaner sees them.
type fakeKept struct {
	expired, known []string
	forgotten      []string
}

func (f *fakeKept) Expired(context.Context, int) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(f.expired), func(id string) bool { return slices.Contains(f.forgotten, id) }), nil
}

func (f *fakeKept) ForgetBlobs(_ context.Context, ids ...string) error {
	f.forgotten = append(f.forgotten, ids...)
	return nil
}

func (f *fakeKept) UnknownSnapshots(ctx context.Context, ids []string) ([]string, error) {
	return f.Unknown(ctx, ids)
}

func (f *fakeKept) Unknown(_ context.Context, ids []string) ([]string, error) {
	return slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(f.known, id) }), nil
}

func (f *fakeKept) Elect(context.Context, string, time.Duration) (bool, error) { return true, nil }

// TestCleaner: blobs go with their jobs, and those of no job, too; others stay.
func TestCleaner(t *testing.T) {
	t.Parallel()
	blobs := &fakeBlobs{blobs: map[string]string{"foreign": "", "ab/foreign": "", "ab/others.1.x": ""}}
	for _, id := range []string{"old-ab", "live-ab", "lost-ff"} {
		blobs.blobs[job.InputKey(id, 0)], blobs.blobs[job.OutputKey(id, 1, "x")] = "", ""
	}
	liveBatch, oldBatch, lostBatch := job.NewBatchID(), job.NewBatchID(), job.NewBatchID()
	for _, id := range []string{liveBatch, oldBatch, lostBatch} {
		blobs.blobs[job.ArchiveKey(id, "token")] = ""
	}
	blobs.blobs["batches/00/no-batch.x"] = ""
	kept := &fakeKept{expired: []string{"old-ab", oldBatch}, known: []string{"live-ab", liveBatch}}
	c := runner.NewCleaner(kept, blobs, runner.Periods{}, slog.New(slog.DiscardHandler))
	blobs.err = job.ErrUnavailable
	if err := c.Expired(t.Context()); err == nil || len(kept.forgotten) > 0 {
		t.Errorf("a deletion that fails: %v, forgotten %v", err, kept.forgotten)
	}
	blobs.err = nil
	if err := errors.Join(c.Expired(t.Context()), c.Orphans(t.Context(), time.Now())); err != nil {
		t.Fatal(err)
	}
	want := []string{"batches/00/no-batch.x", job.ArchiveKey(liveBatch, "token"), "ab/foreign", "ab/others.1.x", "foreign", job.OutputKey("live-ab", 1, "x"), job.InputKey("live-ab", 0)}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(blobs.blobs))); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// TestDrainDoesNotWaitForFiles: when a runner has to stop, the result is written without
// the files that are not stored yet.
func TestDrainDoesNotWaitForFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, began := &fakeStore{}, make(chan struct{})
		w := &fakeWorkers{left: []string{"x"}, execute: ends(job.StatusOK)}
		r := runner.New(runner.Config{
			Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: w, Blobs: stuckBlobs{began}, Observer: noObserver{},
			Files: job.FileLimits{Files: 1, Bytes: 1}, Log: slog.New(slog.DiscardHandler),
		})
		started := time.Now()
		go func() {
			<-began
			r.EndExecutions()
		}()
		if err := r.Handle(t.Context(), "j", ""); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"completed ok, result of j, queued 5 ms"}, s.log()); diff != "" || s.ended[0].Result.FilesDropped == nil {
			t.Errorf("did (-want +got):\n%s", diff)
		}
		if took := time.Since(started); took > 0 {
			t.Errorf("took %s, want it not to wait", took)
		}
	})
}

// stuckBlobs is a place that does not answer.
type stuckBlobs struct{ began chan struct{} }

func (b stuckBlobs) Put(ctx context.Context, _ string, _ io.Reader) (int64, error) {
	close(b.began)
	<-ctx.Done()
	return 0, ctx.Err()
}

func (stuckBlobs) Open(context.Context, string) (io.ReadSeekCloser, error) { return nil, job.ErrNoFile }
