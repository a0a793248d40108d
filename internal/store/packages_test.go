package store_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestPackageBuilds: each kind of runner has its build of a set, and one runner at a time installs it.
func TestPackageBuilds(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	ctx := t.Context()
	if _, err := b.PackageBuild(ctx, "python@1", "one"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if _, err := b.NewestPackageBuild(ctx, "python@1"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	older := job.PackageBuild{Archive: "packages/a", SHA256: "00", Packed: 1, Bytes: 2, Python: "3.11", BuiltAt: now.Add(-time.Hour), Took: time.Second}
	newer := job.PackageBuild{Archive: "packages/b", Python: "3.12", BuiltAt: now}
	for kind, build := range map[string]job.PackageBuild{"one": older, "two": newer} {
		if err := b.SavePackageBuild(ctx, "python@1", kind, build); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.PackageBuild(ctx, "python@1", "one"); err != nil || got != older {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := b.NewestPackageBuild(ctx, "python@1"); err != nil || got != newer {
		t.Errorf("the newest: %+v, %v", got, err)
	}
	if _, err := b.PackageBuild(ctx, "python@2", "one"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("another set: %v", err)
	}
	waits := func() {
		t.Helper()
		if err := b.AwaitInstallation(ctx, "python@1", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	waits()
	waits() // also of two runners; neither keeps another one from it
	for i, want := range []bool{true, false} {
		if got, err := b.TakeInstallation(ctx, "python@1", time.Hour); got != want || err != nil {
			t.Errorf("take %d: %t, %v", i, got, err)
		}
	}
	waits()
	if got, err := b.TakeInstallation(ctx, "python@1", time.Hour); got || err != nil {
		t.Errorf("take beside one that waits: %t, %v", got, err)
	}
	installing := func(when string, want *job.Installation) {
		t.Helper()
		got, err := b.Installing(ctx, "python@1")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
		}
	}
	installing("taken", &job.Installation{Step: job.InstallWaits})
	far := job.Installation{Step: job.InstallInstalls, Line: "Prepared 3 packages", Bytes: 5}
	if err := b.KeepInstallation(ctx, "python@1", far, time.Hour); err != nil {
		t.Fatal(err)
	}
	waits()
	installing("under way", &far)
	if err := b.LeaveInstallation(ctx, "python@1"); err != nil {
		t.Fatal(err)
	}
	installing("after it", nil)
	waits()
	installing("while a runner waits", &job.Installation{Step: job.InstallWaits})
}

// TestSessionRuntime: the runtime of a session's request names the set of its packages.
func TestSessionRuntime(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	b.beat(t, job.Runner{ID: "r"})
	want := job.WithPackages("", []string{"alpha"})
	n := job.NewSession{Session: job.Session{ID: "with", IdleTimeout: time.Hour, MaxAge: time.Hour}, Spec: job.SessionSpec{Runtime: want}, Caller: "me", Candidates: []job.Candidate{{Runner: "r", Most: 1, Runtime: "python"}}}
	if _, err := b.OpenSession(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if got, err := b.SessionRuntime(t.Context(), "with"); got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := b.SessionRuntime(t.Context(), "none"); !errors.Is(err, job.ErrNoSession) {
		t.Errorf("of none: %v", err)
	}
}

// TestEvictPackageBuilds: sets beyond the bytes that there may be make room, those first that no runner has used for the longest time.
func TestEvictPackageBuilds(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	ctx := t.Context()
	evict := func(most int64, want ...string) {
		t.Helper()
		got, err := b.EvictPackageBuilds(ctx, most)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("beyond %d: %q, %v; want %q", most, got, err, want)
		}
	}
	evict(0)
	for i, set := range []string{"one", "two", "three"} {
		build := job.PackageBuild{Archive: "packages/" + set, Details: "packages/" + set + ".json", Packed: 100}
		if err := b.SavePackageBuild(ctx, set, "kind", build); err != nil {
			t.Fatal(err)
		}
		b.usedAt(t, set, i)
	}
	if err := b.SavePackageBuild(ctx, "two", "another", job.PackageBuild{Archive: "packages/another", Packed: 50}); err != nil {
		t.Fatal(err)
	}
	b.usedAt(t, "two", 1)
	evict(350)
	if err := b.UsePackageBuild(ctx, "one"); err != nil { // now
		t.Fatal(err)
	}
	evict(349, "packages/another", "packages/two", "packages/two.json")
	if _, err := b.PackageBuild(ctx, "two", "kind"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("one that has made room: %v", err)
	}
	if _, err := b.PackageBuild(ctx, "three", "kind"); err != nil {
		t.Errorf("one that stays: %v", err)
	}
	if err := b.UsePackageBuild(ctx, "two"); err != nil { // it is no set any more
		t.Fatal(err)
	}
	evict(200)
	evict(0, "packages/three", "packages/three.json")
	evict(0)
}

// usedAt sets when a set was used last: before now, in the order of the numbers.
func (b *bundle) usedAt(t *testing.T, set string, at int) {
	t.Helper()
	if err := b.rdb.ZAdd(t.Context(), store.PackagesKey, redis.Z{Score: float64(time.Now().Add(time.Duration(at-10) * time.Hour).UnixMilli()), Member: store.PackageSetKey(set)}).Err(); err != nil {
		t.Fatal(err)
	}
}
