package store_test

import (
	"errors"
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
	if on, err := b.Installing(ctx, "python@1"); !on || err != nil {
		t.Errorf("installing: %t, %v", on, err)
	}
	if err := errors.Join(b.KeepInstallation(ctx, "python@1", time.Hour), b.LeaveInstallation(ctx, "python@1")); err != nil {
		t.Fatal(err)
	}
	if on, err := b.Installing(ctx, "python@1"); on || err != nil {
		t.Errorf("after it: %t, %v", on, err)
	}
}
