package packages_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// begin has a set installed for the owner a, and does not wait for it.
func (r *runner) begin(requirement string) (name string) {
	r.tb.Helper()
	name = job.WithPackages("", []string{requirement})
	spec := job.PackageSpec{Packages: []string{requirement}, Owner: "a"}
	err := r.Prepare(r.tb.Context(), name, func(context.Context) (job.PackageSpec, error) { return spec, nil })
	if _, ok := errors.AsType[*job.PreparingError](err); !ok {
		r.tb.Fatalf("%s: %v", requirement, err)
	}
	return name
}

// TestInstallationsOfAnotherOwner: sets whose installation does not end take half of the places, and keep those of another owner waiting on no
// runner, not even for one that the first owner asked for before.
func TestInstallationsOfAnotherOwner(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	index := testenv.PackageIndex(t)
	names := []string{"endless", "endless-too", "endless-in-session", "wanted", "common", "shared"}
	for _, name := range names {
		index.Add(t, testenv.Wheel{Name: name, Version: "1"})
	}
	release := index.Hold("endless", "endless-too", "endless-in-session")
	defer release()
	r := start(t, index)
	other := r.second()
	r.begin("endless")
	testenv.Eventually(t, "the first installation is under way", func() bool { return index.Asked("endless") > 0 })
	r.begin("endless-too")
	taken := make(chan error, 1)
	go func() {
		spec := job.PackageSpec{Packages: []string{"endless-in-session"}, Owner: "a"}
		taken <- r.Take(t.Context(), job.WithPackages("", spec.Packages), spec, func(write func(io.Writer) error) error { return write(io.Discard) })
	}()
	common, shared := r.begin("common"), r.begin("shared") // which wait behind them

	wanted := job.WithPackages("", []string{"wanted"})
	prepare := func(r *runner, name, requirement string, preload ...string) {
		t.Helper()
		if err := r.prepareNamed(name, job.PackageSpec{Packages: []string{requirement}, Preload: preload, Owner: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	prepare(r, job.WithPreload(wanted, []string{"wanted"}, "b"), "wanted", "wanted")
	prepare(r, wanted, "wanted")
	r.want(wanted, "import wanted; print(wanted.version)", "1\n")
	prepare(r, job.WithPreload(common, []string{"common"}, "b"), "common", "common")
	prepare(r, common, "common")
	r.want(common, "import common; print(common.version)", "1\n")
	prepare(other, shared, "shared")
	r.want(shared, "import shared; print(shared.version)", "1\n")
	other.leave(shared)
	fetched := index.Asked("shared-1-py3-none-any.whl")
	if n := index.Asked("endless-too") + index.Asked("endless-in-session"); n > 0 {
		t.Errorf("an owner had more than half of the places: %d requests", n)
	}

	release()
	if err := <-taken; err != nil {
		t.Error(err)
	}
	for _, requirement := range []string{"endless", "endless-too", "shared"} {
		name := job.WithPackages("", []string{requirement})
		prepare(r, name, requirement)
	}
	if index.Asked("shared-1-py3-none-any.whl") != fetched {
		t.Error("a set that another runner has installed was fetched once more")
	}
}
