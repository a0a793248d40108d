package packages_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/packages"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestBadInstallations: whatever an installation meets, it ends with a reason, and nothing of it is left or used. All cases have one pool.
func TestBadInstallations(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	noise := func(seed uint64, size int) string {
		b := make([]byte, size)
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	index := testenv.PackageIndex(t,
		testenv.Wheel{Name: "alpha", Version: "1.0"},
		testenv.Wheel{Name: "wide", Version: "1", Files: map[string]string{"wide.py": "version = 1", "one.bin": noise(1, 3<<20), "two.bin": noise(2, 3<<20), "three.bin": noise(3, 3<<20)}},
		// A process of the build script keeps the streams that it has from the installer.
		sourceOf("holds", strings.Replace(lookAround, "LOOK", `subprocess.Popen(["sleep", "3000"], start_new_session=True) and {}`, 1)))
	r := startAt(t, index, func(c *interpreter.Config) { c.Size = 1 })
	r.isTooLarge()
	r.hasNoIndex(t)
	r.hasSlowIndex()
	r.keepsStreams()
	t.Run("full disk", func(t *testing.T) { r.hasFullDisk(t) })
}

// other is another runner with the pool of the first. The function that it returns ends it.
func (r *runner) other(change func(*packages.Config)) (*runner, func()) {
	r.tb.Helper()
	cfg := r.cfg
	cfg.Dir = r.tb.TempDir()
	change(&cfg)
	m, err := packages.New(r.pool, cfg)
	if err != nil {
		r.tb.Fatal(err)
	}
	one := &runner{Manager: m, tb: r.tb, pool: r.pool, dir: cfg.Dir, cfg: cfg, index: r.index, blobDir: r.blobDir}
	return one, func() {
		r.tb.Helper()
		if err := one.Close(r.tb.Context()); err != nil {
			r.tb.Error(err)
		}
	}
}

// isRefused prepares packages that cannot be had, and sees that nothing is left of them.
func (r *runner) isRefused(what string, code job.FailureCode, says, requirement string) {
	r.tb.Helper()
	name, err := r.prepare(requirement)
	refusal, ok := errors.AsType[*job.RefusedError](err)
	if !ok || refusal.Code != code || !strings.Contains(refusal.Message, says) {
		r.tb.Errorf("%s: %v\nwant %s with %q", what, err, code, says)
	}
	if _, err := r.pool.Acquire(r.tb.Context(), name); !errors.Is(err, job.ErrNoRuntime) {
		r.tb.Errorf("%s: Acquire: %v", what, err)
	}
	err = filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (strings.HasPrefix(e.Name(), "install-") || strings.HasPrefix(e.Name(), "set-")) {
			r.tb.Errorf("%s: there is %s", what, path)
		}
		return err
	})
	if err != nil {
		r.tb.Error(err)
	}
}

func (r *runner) isTooLarge() {
	r.tb.Helper()
	for _, most := range []int64{4 << 20, 8 << 20} { // what the installer is ended for, and what is found in the end
		one, end := r.other(func(c *packages.Config) { c.MaxBytes = most })
		one.isRefused("a set above the ceiling", job.FailPackagesTooLarge, "KAA_MAX_PACKAGES_BYTES", "wide")
		end()
	}
}

func (r *runner) hasNoIndex(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil { // nobody listens there
		t.Fatal(err)
	}
	one, end := r.other(func(c *packages.Config) { c.Index = "http://" + address + "/simple/" })
	defer end()
	one.isRefused("a closed index", job.FailPackageIndex, "Try again later", "alpha")
}

func (r *runner) hasSlowIndex() {
	r.tb.Helper()
	release := r.index.Hold()
	defer release()
	one, end := r.other(func(c *packages.Config) { c.Timeout = time.Second })
	defer end()
	one.isRefused("an index that answers nothing", job.FailPackagesLate, "KAA_PACKAGES_TIMEOUT", "alpha==1.0")
}

// keepsStreams: the installer may wait for the process, and then the installation ends by its time limit.
func (r *runner) keepsStreams() {
	r.tb.Helper()
	one, end := r.other(func(c *packages.Config) { c.Sdist, c.Timeout = true, 15*time.Second })
	defer end()
	name, err := one.prepare("holds")
	if refusal, ok := errors.AsType[*job.RefusedError](err); err != nil && (!ok || refusal.Code != job.FailPackagesLate) {
		r.tb.Errorf("a build script whose process keeps the streams: %v", err)
	}
	r.pool.WithdrawSet(name)
}

// hasFullDisk: the disk is full in the middle of an installation, and of the unpacking of a set that another runner has stored.
func (r *runner) hasFullDisk(t *testing.T) {
	t.Helper()
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=6m,mode=755"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	one, end := r.other(func(c *packages.Config) { c.Dir = small })
	one.isRefused("a disk that is full in an installation", job.FailPackagesDisk, "no room", "wide")
	if _, err := r.prepare("wide"); err != nil { // by a runner with room, which stores it
		t.Fatal(err)
	}
	if !r.pool.WithdrawSet(job.WithPackages("", []string{"wide"})) {
		t.Fatal("the set is in use")
	}
	asked := r.index.Asked("wide")
	end()
	one, end = r.other(func(c *packages.Config) { c.Dir = small })
	defer end()
	one.isRefused("a disk that is full while a set is unpacked", job.FailPackagesDisk, "no room", "wide")
	if again := r.index.Asked("wide"); again != asked {
		t.Errorf("the index was asked %d times for a set that is stored", again-asked)
	}
	name, err := one.prepare("alpha") // there is room for it
	if err != nil {
		t.Fatal(err)
	}
	one.want(name, "import alpha; print(alpha.version)", "1.0\n")
	testenv.Eventually(t, "nothing uses the set", func() bool { return one.pool.WithdrawSet(name) })
	if left, _ := os.ReadDir(small); len(left) != 1 {
		t.Errorf("on the small disk: %v", left)
	}
}
