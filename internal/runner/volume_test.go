package runner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// fakeTree is a working directory: one text, and a number that changes with it.
type fakeTree struct {
	job.FileSystem
	mu   sync.Mutex
	text string
	err  error // of Restore
}

func (f *fakeTree) Snapshot(_ context.Context, to io.Writer) (job.TreeStats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := io.WriteString(to, f.text)
	return job.TreeStats{Entries: 1}, err
}

func (f *fakeTree) Restore(_ context.Context, from io.Reader) error {
	text, err := io.ReadAll(from)
	f.set(string(text))
	return errors.Join(err, f.err)
}

func (f *fakeTree) Fingerprint(context.Context) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return uint64(len(f.text)) + 1, nil
}

func (f *fakeTree) set(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = text
}

// fakeVolumes record what is asked of them.
type fakeVolumes struct {
	mu       sync.Mutex
	calls    []string
	snapshot string
	began    time.Time
	err      error // of SaveVolume
}

func (f *fakeVolumes) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf("%s after %s", fmt.Sprintf(format, args...), time.Since(f.began).Round(time.Second)))
}

func (f *fakeVolumes) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeVolumes) TakeVolume(context.Context, string, string) (*job.HeldVolume, error) {
	f.note("take")
	f.mu.Lock()
	defer f.mu.Unlock()
	return &job.HeldVolume{Session: "s", Runner: "r", Caller: "me", Name: "v", Snapshot: f.snapshot}, nil
}

func (*fakeVolumes) RoomForSnapshot(context.Context, job.HeldVolume, string, int64) error { return nil }

func (f *fakeVolumes) SaveVolume(_ context.Context, _ job.HeldVolume, n job.Snapshot) error {
	f.note("save")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshot = n.ID
	return f.err
}

func (f *fakeVolumes) LeaveVolume(_ context.Context, _ job.HeldVolume, why string, leaves bool) error {
	f.note("leave %q %v", why, leaves)
	return nil
}

// volumeWorld is a runner with one session, which has a volume.
type volumeWorld struct {
	*runner.Runner
	records *fakeSession
	volumes *fakeVolumes
	blobs   runner.Blobs
	tree    *fakeTree
}

func newVolumeWorld(t *testing.T, blobs runner.Blobs) *volumeWorld {
	t.Helper()
	w := &volumeWorld{
		records: &fakeSession{outcomes: make(chan job.Outcome, 10), spec: job.SessionSpec{Volume: "v"}}, volumes: &fakeVolumes{began: time.Now()}, blobs: blobs, tree: &fakeTree{},
	}
	w.Runner = runner.New(runner.Config{
		Self: job.Runner{ID: "r", Runtimes: []job.Runtime{{Name: "py", Default: true}}}, Registry: new(fakeStore), Observer: noObserver{}, Log: slog.New(slog.DiscardHandler),
		SessionRecords: w.records, Interpreters: &fakeInterpreters{system: w.tree, hold: make(chan struct{})}, Volumes: w.volumes, Blobs: blobs, SaveEvery: time.Minute,
	})
	return w
}

// do has the session execute something.
func (w *volumeWorld) do(code string) {
	w.records.set(job.Spec{Code: code})
	w.SessionReady("s", job.LaneDefault)
}

func (w *volumeWorld) want(t *testing.T, calls ...string) {
	t.Helper()
	if diff := cmp.Diff(calls, w.volumes.noted()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestPeriodicSaves: files are saved when they have changed, at a quiet moment if there is one in time.
func TestPeriodicSaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newVolumeWorld(t, &fakeBlobs{blobs: map[string]string{}})
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.do("a")
		<-w.records.outcomes
		w.tree.set("1")
		time.Sleep(3*time.Minute + 30*time.Second) // changed once
		w.tree.set("12")
		w.do("wait")
		time.Sleep(3 * time.Minute) // busy: a minute later
		w.want(t, "take after 0s", "save after 1m0s", "save after 5m0s")
		w.SessionClosed("s")
		synctest.Wait()
		w.want(t, "take after 0s", "save after 1m0s", "save after 5m0s", `leave "" true after 6m30s`)
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// hangingBlobs never take or give a blob.
type hangingBlobs struct{}

func (hangingBlobs) Put(ctx context.Context, _ string, _ io.Reader) (int64, error) {
	<-ctx.Done()
	return 0, fmt.Errorf("put: %w", context.Cause(ctx))
}

func (hangingBlobs) Open(context.Context, string) (io.ReadSeekCloser, error) {
	return nil, job.ErrUnavailable
}

// TestSavesAreBounded: a blob store that does not answer delays the end of a drain for a bounded time, and the record says so.
func TestSavesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newVolumeWorld(t, hangingBlobs{})
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.do("a")
		<-w.records.outcomes
		w.tree.set("1")
		if err := w.DrainSessions(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.EndExecutions()
		if err := w.AwaitSessions(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.want(t, "take after 0s", `leave "the files could not be saved: there was not enough time" true after 15s`)
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRestoredOrNothing: code does not run without the files of its volume, and the files stay as they were saved.
func TestRestoredOrNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		blobs runner.Blobs
		err   error // of the file system
		want  string
	}{
		{name: "no answer", blobs: hangingBlobs{}, want: `files_unavailable: the files of the volume "v" cannot be read now`},
		{name: "gone", blobs: &fakeBlobs{}, want: `files_unavailable: the files of the volume "v" are gone`},
		{name: "damaged", blobs: &fakeBlobs{blobs: map[string]string{job.SnapshotKey("old"): "damaged"}}, want: `files_unavailable: the files of the volume "v" could not be put in place`},
		{
			name: "too large", blobs: &fakeBlobs{blobs: map[string]string{job.SnapshotKey("old"): ""}}, err: &job.RefusedError{Code: job.FailDisk},
			want: `disk_full: the files of the volume "v" have no room`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newVolumeWorld(t, tt.blobs)
				w.volumes.snapshot, w.tree.err = "old", tt.err
				w.do("a")
				if got := describe(<-w.records.outcomes); !strings.HasPrefix(got, "failed "+tt.want) {
					t.Errorf("%s", got)
				}
				synctest.Wait()
				w.SessionClosed("s")
				synctest.Wait()
				w.want(t, "take after 0s", `leave "" true after 0s`)
				if w.volumes.snapshot != "old" {
					t.Error("another snapshot was saved")
				}
			})
		})
	}
}

// TestSavesOfALostVolume: a runner whose volume is another session's saves no more.
func TestSavesOfALostVolume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newVolumeWorld(t, &fakeBlobs{blobs: map[string]string{}})
		w.volumes.err = job.ErrStale
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.do("a")
		<-w.records.outcomes
		w.tree.set("1")
		time.Sleep(5 * time.Minute)
		w.SessionClosed("s")
		synctest.Wait()
		w.want(t, "take after 0s", "save after 1m0s")
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
