package packages_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/packages"
	"github.com/kaa-run/kaa/internal/testenv"
)

const loaded = "import sys; print(*[name for name in ('alpha', 'beta', 'alone') if name in sys.modules])"

// TestPreloadOfRequests: interpreters that import modules ahead serve the list and the tenant alone for which they do. All of them have one
// installation, and those that were not used for the longest time make room.
func TestPreloadOfRequests(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1"}, testenv.Wheel{Name: "beta", Version: "1"}, testenv.Wheel{Name: "alone", Version: "1"})
	r := startAt(t, index, func(c *interpreter.Config) { c.Size = 1 }, func(c *packages.Config) { c.Preload = []string{"alone"} })
	plain, err := r.prepare("alone", "alpha", "beta")
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(tenant string, modules ...string) string {
		name := job.WithPreload(plain, modules, tenant)
		if err := r.prepareNamed(name, job.PackageSpec{Packages: []string{"alone", "alpha", "beta"}, Preload: modules}); err != nil {
			t.Fatal(err)
		}
		return name
	}
	sets := map[string]string{ // what their interpreters have imported, perhaps
		plain: "alone\n", prepare("a", "alpha"): "alpha\n", prepare("b", "alpha"): "alpha\n", prepare("a", "beta"): "beta\n", prepare("a", "no_such_module", "alpha"): "\n",
	}
	if len(sets) != 5 {
		t.Fatalf("%d sets, want 5", len(sets))
	}
	_, _, control := r.pool.Sandbox()
	for name, want := range sets {
		if !strings.HasPrefix(control, "cgroup") {
			want = "\n" // without control groups nothing is imported ahead
		}
		testenv.Eventually(t, "its modules are imported ahead", func() bool {
			got := r.execute(name, loaded).Stdout
			if got != want && got != "\n" {
				t.Errorf("%s has %q, want %q", name, got, want)
			}
			return got == want
		})
	}
	if n := index.Asked("alpha"); n > 2 {
		t.Errorf("the index was asked %d times for one installation", n)
	}
	// Further lists take the places of those that were not used for the longest time.
	names := []string{}
	for i := range 5 {
		names = append(names, prepare(fmt.Sprint(i), "beta"))
	}
	for i, name := range names {
		w, err := r.pool.Acquire(t.Context(), name)
		if gone := errors.Is(err, job.ErrNoRuntime); gone != (i == 0) {
			t.Errorf("list %d: %v", i, err)
		}
		if w != nil {
			_ = w.Close()
		}
	}
	r.want(plain, "import alone; print(1)", "1\n")
	again := prepare("0", "beta")
	r.want(again, "import alpha; print(1)", "1\n")
}

// TestPreloadInUse: when too many lists are in use, a further one is served without imports.
func TestPreloadInUse(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1"})
	r := startAt(t, index, func(c *interpreter.Config) { c.Size = 1 })
	plain := job.WithPackages("", []string{"alpha"})
	prepare := func(tenant string) string {
		name := job.WithPreload(plain, []string{"alpha"}, tenant)
		if err := r.prepareNamed(name, job.PackageSpec{Packages: []string{"alpha"}, Preload: []string{"alpha"}}); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for i := range 4 {
		w, err := r.pool.Acquire(t.Context(), prepare(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
	}
	name := prepare("one more")
	for range 3 {
		r.want(name, loaded+"; import alpha", "\n")
	}
}
