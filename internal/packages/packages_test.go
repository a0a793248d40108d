package packages_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/packages"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// ample is the limit for what should happen soon, on a machine that is busy.
const ample = testenv.Timeout

// ampleStore is room for all sets in the blob store.
const ampleStore = 1 << 30

type runner struct {
	*packages.Manager
	tb    testing.TB
	pool  *interpreter.Pool
	dir   string
	cfg   packages.Config
	index *testenv.Index
	// blobDir is where the blobs are.
	blobDir string
}

// start makes a pool and a manager of packages that end with the test.
func start(tb testing.TB, index *testenv.Index, change ...func(*packages.Config)) *runner {
	tb.Helper()
	return startAt(tb, index, func(*interpreter.Config) {}, change...)
}

func startAt(tb testing.TB, index *testenv.Index, changePool func(*interpreter.Config), change ...func(*packages.Config)) *runner {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), ample)
	defer cancel()
	log := slog.New(slog.NewTextHandler(tb.Output(), nil))
	poolConfig := interpreter.Config{
		Runtimes: []interpreter.RuntimeConfig{{Name: "python", Python: testenv.SystemPython()}}, Dir: tb.TempDir(), StartTimeout: ample, Log: log,
	}
	changePool(&poolConfig)
	pool, err := interpreter.New(ctx, poolConfig)
	if err != nil {
		tb.Fatal(err)
	}
	if err := pool.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	cfg := packages.Config{UV: testenv.UV(tb), Index: index.URL, MaxBytes: 32 << 20, DiskBytes: 64 << 20, StoreBytes: ampleStore, Timeout: ample, Dir: tb.TempDir(), Log: log}
	store, blobDir := blobs(tb)
	cfg.Blobs = store
	cfg.Records = newRecords()
	for _, f := range change {
		f(&cfg)
	}
	m, err := packages.New(pool, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), ample)
		defer cancel()
		if err := errors.Join(m.Close(ctx), pool.Close(ctx)); err != nil {
			tb.Error(err)
		}
		if left, _ := os.ReadDir(cfg.Dir); len(left) > 0 {
			tb.Errorf("left behind: %v", left)
		}
	})
	return &runner{Manager: m, tb: tb, pool: pool, dir: cfg.Dir, cfg: cfg, index: index, blobDir: blobDir}
}

// prepare waits until a set is ready, or refused.
func (r *runner) prepare(requirements ...string) (name string, err error) {
	r.tb.Helper()
	name = job.WithPackages("", requirements)
	return name, r.prepareNamed(name, job.PackageSpec{Packages: requirements})
}

func (r *runner) prepareNamed(name string, spec job.PackageSpec) (err error) {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(r.tb.Context(), ample)
	defer cancel()
	for {
		err = r.Prepare(ctx, name, func(context.Context) (job.PackageSpec, error) { return spec, nil })
		preparing, ok := errors.AsType[*job.PreparingError](err)
		if !ok {
			return err
		}
		select {
		case <-preparing.Done:
		case <-ctx.Done():
			r.tb.Fatal("not installed in time")
		}
	}
}

// execute runs code with a set that is ready.
func (r *runner) execute(name, code string) job.Result {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(r.tb.Context(), ample)
	defer cancel()
	w, err := r.pool.Acquire(ctx, name)
	if err != nil {
		r.tb.Fatalf("Acquire: %v", err)
	}
	result, err := w.Execute(ctx, job.Spec{Code: code, Timeout: ample}, job.Live{})
	if err = errors.Join(err, w.Close()); err != nil {
		r.tb.Fatalf("Execute: %v", err)
	}
	return result
}

func (r *runner) want(name, code, stdout string) {
	r.tb.Helper()
	if got := r.execute(name, code); got.Stdout != stdout {
		r.tb.Errorf("%s\nprints %q, want %q; error %+v, stderr %s", code, got.Stdout, stdout, got.Error, got.Stderr)
	}
}

// TestPackages has one pool and one index for all cases, since a pool costs more than they do.
func TestPackages(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t,
		testenv.Wheel{Name: "alpha", Version: "1.0"}, testenv.Wheel{Name: "alpha", Version: "2.0", Requires: []string{"beta-two>=1"}},
		testenv.Wheel{Name: "beta-two", Version: "1.5"},
		testenv.Wheel{Name: "hostile", Version: "1", Files: map[string]string{
			// None of it may run or count before the code imports it.
			"json/__init__.py": "raise SystemExit('shadowed')", "sitecustomize.py": "raise SystemExit('customized')",
			"hostile.pth": "import os; os._exit(9)", "hostile.py": "import json; here = json.dumps([1])",
		}},
		testenv.Wheel{Name: "needs-old", Version: "1", Requires: []string{"alpha<2"}},
		testenv.Wheel{Name: "windows", Version: "1", Tag: "py3-none-win_amd64"},
		testenv.Wheel{Name: "source", Version: "1", Sdist: true},
		testenv.Wheel{Name: "changed", Version: "1", Hash: strings.Repeat("0", 64)},
		testenv.Wheel{Name: "taken-back", Version: "1", Yanked: true},
		testenv.Wheel{Name: "blocked", Version: "1"}, testenv.Wheel{Name: "needs-blocked", Version: "1", Requires: []string{"blocked"}},
		testenv.Wheel{Name: "large", Version: "1", Files: map[string]string{"large.txt": strings.Repeat("x", 9<<20)}},
		testenv.Wheel{Name: "climbs", Version: "1", Files: map[string]string{"../../../climbed.py": "x = 1"}})
	for _, name := range []string{"big-one", "big-two"} {
		index.Add(t, testenv.Wheel{Name: name, Version: "1", Files: map[string]string{"big.txt": strings.Repeat("x", 4<<20), name[4:] + ".py": ""}})
	}
	r := start(t, index, func(c *packages.Config) { c.Block, c.MaxBytes, c.DiskBytes = []string{"blocked"}, 8<<20, 6<<20 })
	installs(t, r)
	refuses(t, r)
	makesRoom(t, r)
	shares(t, r)
}

// makesRoom has two sets of which one fits on the disk.
func makesRoom(t *testing.T, r *runner) {
	t.Helper()
	one, err := r.prepare("big-one")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	w, err := r.pool.Acquire(ctx, one)
	if err != nil {
		t.Fatal(err)
	}
	two, err := r.prepare("big-two")
	if err != nil {
		t.Fatal(err)
	}
	// The first is in use, so it stays.
	result, err := w.Execute(ctx, job.Spec{Code: "import one; print(len(open('/packages/big.txt').read()))", Timeout: ample}, job.Live{})
	if err = errors.Join(err, w.Close()); err != nil || result.Stdout != "4194304\n" {
		t.Fatalf("a set in use: %+v, %v", result, err)
	}
	r.want(two, "import two; print(2)", "2\n")
	if _, err := r.prepare("beta-two==1.5"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.pool.Acquire(ctx, one); !errors.Is(err, job.ErrNoRuntime) {
		t.Errorf("Acquire of a set that made room: %v", err)
	}
	if _, err := r.prepare("big-one"); err != nil { // and it can come again
		t.Fatal(err)
	}
	r.want(one, "import one; print(1)", "1\n")
}

func installs(t *testing.T, r *runner) {
	t.Helper()
	name, err := r.prepare("alpha")
	if err != nil {
		t.Fatal(err)
	}
	r.want(name, "import alpha, beta_two; print(alpha.version, beta_two.version)", "2.0 1.5\n")
	r.want(name, "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'import alpha; print(alpha.version)'], capture_output=True, text=True).stdout, end='')", "2.0\n")
	r.want("", "try:\n  import alpha\nexcept ImportError as e:\n  print(e)", "No module named 'alpha'\n")
	// What is installed is for all, so no execution can change it.
	r.want(name, `
import alpha, os
for change in (lambda: open(alpha.__file__, "a"), lambda: os.mkdir("/packages/x"), lambda: os.remove(alpha.__file__), lambda: os.rename("/packages/alpha.py", "/packages/b.py"),
               lambda: os.chmod(alpha.__file__, 0o777), lambda: os.utime(alpha.__file__), lambda: os.link(alpha.__file__, "/tmp/alpha.py"), lambda: os.symlink("/tmp", "/packages/tmp")):
    try:
        change()
        print("changed")
    except OSError:
        pass
`, "")
	asked := r.index.Asked("alpha")
	if name, err = r.prepare("alpha"); err != nil {
		t.Fatal(err)
	}
	if again := r.index.Asked("alpha"); again != asked {
		t.Errorf("the index was asked %d times for a set that is installed", again-asked)
	}
	old, err := r.prepare("alpha==1.0")
	if err != nil {
		t.Fatal(err)
	}
	r.want(old, "import alpha; print(alpha.version)", "1.0\n")
	r.want(name, "import alpha; print(alpha.version)", "2.0\n")
	hostile, err := r.prepare("hostile")
	if err != nil {
		t.Fatal(err)
	}
	r.want(hostile, "import hostile; print(hostile.here)", "[1]\n")
}

func refuses(t *testing.T, r *runner) {
	t.Helper()
	for _, tt := range []struct {
		requirements string
		code         job.FailureCode
		says         string
	}{
		{"missing-one", job.FailPackages, "missing-one was not found"},
		{"alpha==3", job.FailPackages, "alpha==3"},
		{"alpha==2.0 needs-old", job.FailPackages, "needs-old"},
		{"windows", job.FailPackageWheel, "windows"},
		{"source", job.FailPackageWheel, "source"},
		{"changed", job.FailPackageHash, "Hash mismatch"},
		{"taken-back", job.FailPackages, "yanked"},
		{"needs-blocked", job.FailPackageBlocked, "blocked"},
		{"large", job.FailPackagesTooLarge, "KAA_MAX_PACKAGES_BYTES"},
	} {
		name, err := r.prepare(strings.Fields(tt.requirements)...)
		refusal, ok := errors.AsType[*job.RefusedError](err)
		if !ok || refusal.Code != tt.code || !strings.Contains(refusal.Message, tt.says) {
			t.Errorf("%s: %v\nwant %s with %q", tt.requirements, err, tt.code, tt.says)
		}
		if _, err := r.pool.Acquire(t.Context(), name); !errors.Is(err, job.ErrNoRuntime) {
			t.Errorf("%s: Acquire: %v", tt.requirements, err)
		}
	}
	_, _ = r.prepare("climbs") // uv may leave such a file out, or refuse the wheel
	err := filepath.WalkDir(filepath.Dir(r.dir), func(path string, e fs.DirEntry, err error) error {
		if err == nil && (e.Name() == "climbed.py" || strings.HasPrefix(e.Name(), "install-")) {
			t.Errorf("there is %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
