package packages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// The names of the files in the directory of an installation.
	requirementsFile, lockFile, siteDir = "requirements.txt", "lock.txt", "site"
	// toolMemory, toolProcesses and toolProcessors bound an installation, where the runner has control groups.
	toolMemory, toolProcesses, toolProcessors = 2 << 30, 512, 2
	// watchEvery is the period in which the size of an installation is looked at.
	watchEvery = 500 * time.Millisecond
	// mostFiles is the largest number of files of a set.
	mostFiles = 200_000
	// mostLock is the largest size of a lock file, and mostLog of what is kept of the words of an installer.
	mostLock, mostLog = 4 << 20, 16 << 10
)

var (
	errLate     = errors.New("the installation takes too long")
	errTooLarge = errors.New("the packages are too large")
)

// built is an installation under way or complete.
type built struct {
	dir, site string
	lockText  string // what was resolved, with hashes
	log       string // what the installer said
	bytes     int64
}

func (b built) remove() error {
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// build resolves and installs requirements in a new directory, which the caller removes.
func (m *Manager) build(runtime string, requirements []string, shown *lease) (b built, err error) {
	uv, err := exec.LookPath(m.cfg.UV)
	if err != nil {
		return b, &job.RefusedError{Code: job.FailNoPackages, Message: "the runner has no installer of packages (KAA_UV); ask the operator of this Kaa"}
	}
	if uv, err = filepath.EvalSymlinks(uv); err != nil {
		return b, fmt.Errorf("find the installer: %w", err)
	}
	if uv, err = filepath.Abs(uv); err != nil {
		return b, fmt.Errorf("find the installer: %w", err)
	}
	python, err := m.pool.Interpreter(runtime)
	if err != nil {
		return b, err
	}
	if b.dir, err = os.MkdirTemp(m.dir.Path, "install-"); err != nil {
		return b, diskRefusal(err)
	}
	b.site = filepath.Join(b.dir, siteDir)
	for _, name := range []string{siteDir, "tmp", "home", "cache"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(b.dir, name), 0o755)) //nolint:gosec // users of sandboxes read it
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(b.dir, requirementsFile), []byte(strings.Join(requirements, "\n")+"\n"), 0o600))
	if err != nil {
		return b, diskRefusal(err)
	}
	ctx, cancel := context.WithTimeoutCause(m.life, m.cfg.Timeout, errLate)
	defer cancel()
	at := m.pool.ToolDir(b.dir)
	common := []string{"--python", python}
	if !m.cfg.Sdist {
		common = append(common, "--only-binary", ":all:")
	}
	resolve := append([]string{"pip", "compile", at + "/" + requirementsFile, "--output-file", at + "/" + lockFile, "--generate-hashes", "--no-header", "--no-annotate"}, common...)
	shown.step(job.InstallResolves)
	said, err := m.run(ctx, runtime, uv, b.dir, resolve, shown)
	if err != nil {
		return b, err
	}
	if b.lockText, err = m.readLock(b.dir); err != nil {
		return b, err
	}
	install := append([]string{"pip", "install", "--requirements", at + "/" + lockFile, "--target", at + "/" + siteDir, "--require-hashes", "--no-deps", "--compile-bytecode"}, common...)
	shown.step(job.InstallInstalls)
	saidThen, err := m.run(ctx, runtime, uv, b.dir, install, shown)
	if err != nil {
		return b, err
	}
	b.log = logOf(said + saidThen)
	b.bytes, err = settleTree(b.site)
	if err == nil && b.bytes > m.cfg.MaxBytes {
		err = m.tooLarge()
	}
	return b, err
}

// logOf is what is kept of the words of an installer: their end.
func logOf(said string) string {
	if len(said) > mostLog {
		said = "… " + said[len(said)-mostLog:]
	}
	return strings.ToValidUTF8(said, "\uFFFD")
}

// run runs the installer once, and returns what it said.
func (m *Manager) run(ctx context.Context, runtime, uv, dir string, args []string, shown *lease) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		m.watch(ctx, dir, cancel, shown)
	}()
	d := m.index.newDoor()
	defer d.close()
	through := m.pool.ToolProxy()
	if through == "" {
		var err error
		if through, err = d.listen(ctx); err != nil {
			return "", err
		}
	}
	at, proxy := m.pool.ToolDir(dir), d.proxy(through)
	env := []string{
		"HOME=" + at + "/home", "TMPDIR=" + at + "/tmp", "UV_CACHE_DIR=" + at + "/cache", "UV_DEFAULT_INDEX=" + m.index.inside(), "UV_NO_CONFIG=1",
		"UV_PYTHON_DOWNLOADS=never", "UV_NO_PROGRESS=1", "NO_COLOR=1", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
		"HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy, "ALL_PROXY=" + proxy, "http_proxy=" + proxy, "https_proxy=" + proxy, "all_proxy=" + proxy,
	}
	clean := func(said string) string { return strings.ReplaceAll(m.withoutSecrets(said), d.password, "") }
	out, code, err := m.pool.RunTool(ctx, interpreter.Tool{
		Runtime: runtime, Program: uv, Args: args, Env: env, Dir: dir, Serve: d.serve, Heard: shown.hears(clean),
		Quota: job.Quota{MemoryBytes: toolMemory, Processes: toolProcesses, CPUs: toolProcessors, FileBytes: m.cfg.MaxBytes, CPUTime: m.cfg.Timeout},
	})
	cancel(nil)
	<-watching
	said := clean(string(out))
	switch {
	case errors.Is(err, errLate):
		return "", &job.RefusedError{Code: job.FailPackagesLate, Message: fmt.Sprintf("the packages were not installed within %s (KAA_PACKAGES_TIMEOUT); name fewer of them, or pin their versions", m.cfg.Timeout)}
	case errors.Is(err, errTooLarge):
		return "", m.tooLarge()
	case err != nil:
		return "", fmt.Errorf("install packages: %w", err)
	case code == 0:
		return said, nil
	case code == interpreter.ToolFailed:
		return "", fmt.Errorf("confine the installer: %s", said)
	}
	return "", refusalOf(said, code)
}

// watch ends an installation that is larger than a set may be. Its downloads take as much again.
func (m *Manager) watch(ctx context.Context, dir string, end context.CancelCauseFunc, shown *lease) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchEvery):
		}
		size, files := measure(dir)
		shown.has(size)
		if size > 2*m.cfg.MaxBytes || files > 2*mostFiles {
			end(errTooLarge)
			return
		}
	}
}

func (m *Manager) tooLarge() error {
	return &job.RefusedError{Code: job.FailPackagesTooLarge, Message: fmt.Sprintf("the packages take more than %d bytes (KAA_MAX_PACKAGES_BYTES); name fewer or smaller ones", m.cfg.MaxBytes)}
}

// withoutSecrets removes the password of the index from a text.
func (m *Manager) withoutSecrets(text string) string {
	index, err := url.Parse(m.cfg.Index)
	if err != nil || index.User == nil {
		return text
	}
	secrets := []string{index.User.String() + "@"}
	if password, _ := index.User.Password(); password != "" {
		secrets = append(secrets, url.QueryEscape(password), password)
	}
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "")
	}
	return text
}

// readLock returns a lock, and refuses it if one of its packages is blocked. The installation could write to its directory, so the lock may be anything.
func (m *Manager) readLock(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("read the lock of packages: %w", err)
	}
	defer root.Close()
	info, err := root.Lstat(lockFile)
	if err == nil && !info.Mode().IsRegular() {
		err = errForeign
	}
	if err == nil && info.Size() > mostLock {
		return "", &job.RefusedError{Code: job.FailPackagesTooLarge, Message: fmt.Sprintf("the lock file of the packages takes more than %d bytes; name fewer packages", mostLock)}
	}
	text := []byte(nil)
	if err == nil {
		text, err = root.ReadFile(lockFile)
	}
	if err != nil {
		return "", fmt.Errorf("read the lock of packages: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, _, ok := strings.Cut(line, "==")
		if !ok || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ = strings.Cut(name, "[")
		if slices.Contains(m.cfg.Block, job.PackageName(name)) {
			return "", &job.RefusedError{Code: job.FailPackageBlocked, Message: fmt.Sprintf("the packages need %s, which this Kaa does not install; leave out the package that needs it", name)}
		}
	}
	return m.withoutSecrets(strings.ToValidUTF8(string(text), "\uFFFD")), nil
}

// measure returns the bytes and the number of the files in a directory, as far as they can be seen.
func measure(dir string) (size int64, files int) {
	seen := map[uint64]bool{}
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed meanwhile
		}
		files++
		if info, err := e.Info(); err == nil && e.Type().IsRegular() {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
				if seen[stat.Ino] {
					return nil
				}
				seen[stat.Ino] = true
			}
			size += info.Size()
		}
		return nil
	})
	return size, files
}

// errForeign: a set has something else than files and directories.
var errForeign error = &job.RefusedError{Code: job.FailPackages, Message: "the packages have something else than files and directories, which is not taken"}

// settleTree gives the files of a set the modes in which all users may read them, and returns their bytes. Wheels have neither
// links nor special files.
func settleTree(dir string) (size int64, err error) {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return 0, errors.Join(err, errForeign)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fmt.Errorf("look at the packages: %w", err)
	}
	defer root.Close()
	files := 0
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if files++; files > mostFiles {
			return &job.RefusedError{Code: job.FailPackagesTooLarge, Message: fmt.Sprintf("the packages have more than %d files; name fewer of them", mostFiles)}
		}
		info, err := e.Info()
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return root.Chmod(path, 0o755)
		case !e.Type().IsRegular():
			return fmt.Errorf("%s: %w", path, errForeign)
		}
		size += info.Size()
		return root.Chmod(path, 0o644|info.Mode().Perm()&0o111)
	})
	if err != nil {
		return 0, fmt.Errorf("look at the packages: %w", err)
	}
	return size, nil
}
