package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

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
	for i, want := range []bool{true, false} {
		if got, err := b.TakeInstallation(ctx, "python@1", time.Hour); got != want || err != nil {
			t.Errorf("take %d: %t, %v", i, got, err)
		}
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
	installing("under way", &far)
	if err := b.LeaveInstallation(ctx, "python@1"); err != nil {
		t.Fatal(err)
	}
	installing("after it", nil)
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
