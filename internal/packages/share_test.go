package packages_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/packages"
)

// blobs is a store in a directory, as runners share it.
func blobs(tb testing.TB) (store *blob.Store, dir string) {
	tb.Helper()
	dir = tb.TempDir()
	store, err := blob.New("file://"+dir, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return store, dir
}

// records are those of the store, in memory.
type records struct {
	mu      sync.Mutex
	builds  map[string]job.PackageBuild
	taken   map[string]bool
	last    string      // key of the last build
	used    []string    // sets that were taken from the store
	refused chan string // sets that a runner could not take
}

func newRecords() *records {
	return &records{builds: map[string]job.PackageBuild{}, taken: map[string]bool{}, refused: make(chan string, 1000)}
}

func (r *records) PackageBuild(_ context.Context, set, kind string) (job.PackageBuild, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.builds[set+" "+kind]
	if !ok {
		return b, fmt.Errorf("look for packages: %w", job.ErrNotFound)
	}
	return b, nil
}

func (r *records) SavePackageBuild(_ context.Context, set, kind string, b job.PackageBuild) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.builds[set+" "+kind], r.last = b, set+" "+kind
	return nil
}

func (r *records) UsePackageBuild(_ context.Context, set string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = append(r.used, set)
	return nil
}

// EvictPackageBuilds drops all but the last set with a bound of 0.
func (r *records) EvictPackageBuilds(_ context.Context, most int64) (blobs []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, b := range r.builds {
		if most == 0 && key != r.last {
			blobs = append(blobs, b.Archive, b.Details)
			delete(r.builds, key)
		}
	}
	return blobs, nil
}

func (r *records) TakeInstallation(_ context.Context, set string, _ time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[set] {
		select {
		case r.refused <- set:
		default:
		}
		return false, nil
	}
	r.taken[set] = true
	return true, nil
}

func (*records) KeepInstallation(context.Context, string, job.Installation, time.Duration) error {
	return nil
}

func (*records) AwaitInstallation(context.Context, string, time.Duration) error { return nil }

func (r *records) LeaveInstallation(_ context.Context, set string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, set)
	return nil
}

// all returns the builds by their keys.
func (r *records) all() map[string]job.PackageBuild {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.builds)
}

// second starts another runner that has the pool of the first, and so may offer a set only while the first does not.
func (r *runner) second() *runner {
	r.tb.Helper()
	cfg := r.cfg
	cfg.Dir = r.tb.TempDir()
	m, err := packages.New(r.pool, cfg)
	if err != nil {
		r.tb.Fatal(err)
	}
	return &runner{Manager: m, tb: r.tb, pool: r.pool, dir: cfg.Dir, cfg: cfg, index: r.index, blobDir: r.blobDir}
}

// leave ends a second runner that offers a set.
func (r *runner) leave(set string) {
	r.tb.Helper()
	if !r.pool.WithdrawSet(set) {
		r.tb.Error("the set is in use")
	}
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		r.tb.Error(err)
	}
}

const alphaFile = "alpha-2.0-py3-none-any.whl"

// shares has further runners take a set from the blob store, and refuse an archive that is not the one that was written.
func shares(t *testing.T, r *runner) {
	t.Helper()
	name, err := r.prepare("alpha")
	if err != nil {
		t.Fatal(err)
	}
	if !r.pool.WithdrawSet(name) {
		t.Fatal("the set is in use")
	}
	archive := func(set string) string {
		for key, b := range r.cfg.Records.(*records).all() {
			if key[:len(set)] == set {
				return filepath.Join(r.blobDir, b.Archive)
			}
		}
		t.Fatalf("%s is not shared", set)
		return ""
	}
	for _, tt := range []struct {
		name   string
		change func(path string) error
		builds int
	}{
		{"as it was written", func(string) error { return nil }, 0},
		{"of another set", func(path string) error {
			other, err := os.ReadFile(archive(job.WithPackages("", []string{"alpha==1.0"})))
			if err != nil {
				return err
			}
			return os.WriteFile(path, other, 0o600)
		}, 1},
		{"cut off", func(path string) error { return os.Truncate(path, 200) }, 1},
		{"with more at its end", func(path string) error {
			whole, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, append(whole, 0), 0o600)
		}, 1},
		{"deleted", os.Remove, 1},
	} {
		if err := tt.change(archive(name)); err != nil {
			t.Fatal(err)
		}
		asked := r.index.Asked(alphaFile)
		other := r.second()
		if _, err := other.prepare("alpha"); err != nil {
			t.Fatalf("an archive %s: %v", tt.name, err)
		}
		r.want(name, `
import alpha, beta_two, importlib.util, os, sys
print(alpha.version, beta_two.version, os.path.exists(importlib.util.cache_from_source(alpha.__file__)), int(os.stat(alpha.__file__).st_mtime) > 0)
`, "2.0 1.5 True True\n")
		if again := r.index.Asked(alphaFile) - asked; (again > 0) != (tt.builds > 0) {
			t.Errorf("an archive %s: the index was asked %d times, want %d installations", tt.name, again, tt.builds)
		}
		other.leave(name)
	}
	if used := r.cfg.Records.(*records).used; !slices.Contains(used, name) {
		t.Errorf("sets that were taken: %q", used)
	}
	waitsForAnother(t, r)
	makesStoreRoom(t, r)
}

// makesStoreRoom: beyond the budget of the blob store, sets make room for the one that is stored.
func makesStoreRoom(t *testing.T, r *runner) {
	t.Helper()
	r.cfg.StoreBytes = 0
	other, before := r.second(), r.cfg.Records.(*records).all()
	requirements := []string{"alpha==1.0", "beta-two>=1"}
	name, err := other.prepare(requirements...)
	if err != nil {
		t.Fatal(err)
	}
	for key, b := range before {
		if _, err := os.Stat(filepath.Join(r.blobDir, b.Archive)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the archive of %s: %v", key, err)
		}
	}
	for _, b := range r.cfg.Records.(*records).all() {
		if _, err := os.Stat(filepath.Join(r.blobDir, b.Archive)); err != nil || len(before) == 0 {
			t.Errorf("the one that was stored: %v, beside %d others", err, len(before))
		}
	}
	other.leave(name)
	r.cfg.StoreBytes = ampleStore
}

// waitsForAnother: a runner waits while another one installs a set, and then takes it.
func waitsForAnother(t *testing.T, r *runner) {
	t.Helper()
	known := r.cfg.Records.(*records)
	release := r.index.Hold()
	defer release()
	prepare := func(r *runner) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := r.prepare("beta-two>1")
			done <- err
		}()
		return done
	}
	name := job.WithPackages("", []string{"beta-two>1"})
	first, other := prepare(r), r.second()
	second := prepare(other)
	for set := range known.refused {
		if set == name {
			break
		}
	}
	release()
	for _, done := range []<-chan error{first, second} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := r.index.Asked("beta_two-1.5-py3-none-any.whl"); n == 0 {
		t.Error("the index was not asked")
	}
	shared := 0
	for key := range known.all() {
		if key[:len(name)] == name {
			shared++
		}
	}
	if shared != 1 {
		t.Errorf("the set was shared %d times", shared)
	}
	other.leave(name)
}
