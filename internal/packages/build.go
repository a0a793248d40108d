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
)

// passedOn are the variables of the runner that the installer gets: the way to the index, and who vouches for it.
var passedOn = []string{ //nolint:gochecknoglobals // a constant
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE",
}

var (
	errLate     = errors.New("the installation takes too long")
	errTooLarge = errors.New("the packages are too large")
)

// built is an installation under way or complete.
type built struct {
	dir, site string
	lock      []string // name==version
	bytes     int64
}

func (b built) remove() error {
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// build resolves and installs requirements in a new directory, which the caller removes.
func (m *Manager) build(runtime string, requirements []string) (b built, err error) {
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
	common := []string{"--python", python, "--only-binary", ":all:"}
	resolve := append([]string{"pip", "compile", at + "/" + requirementsFile, "--output-file", at + "/" + lockFile, "--generate-hashes", "--no-header", "--no-annotate"}, common...)
	if err = m.run(ctx, runtime, uv, b.dir, resolve); err != nil {
		return b, err
	}
	if b.lock, err = m.readLock(filepath.Join(b.dir, lockFile)); err != nil {
		return b, err
	}
	install := append([]string{"pip", "install", "--requirements", at + "/" + lockFile, "--target", at + "/" + siteDir, "--require-hashes", "--no-deps", "--compile-bytecode"}, common...)
	if err = m.run(ctx, runtime, uv, b.dir, install); err != nil {
		return b, err
	}
	b.bytes, err = settleTree(b.site)
	if err == nil && b.bytes > m.cfg.MaxBytes {
		err = m.tooLarge()
	}
	return b, err
}

// run runs the installer once.
func (m *Manager) run(ctx context.Context, runtime, uv, dir string, args []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		m.watch(ctx, dir, cancel)
	}()
	at := m.pool.ToolDir(dir)
	env := []string{
		"HOME=" + at + "/home", "TMPDIR=" + at + "/tmp", "UV_CACHE_DIR=" + at + "/cache", "UV_DEFAULT_INDEX=" + m.cfg.Index, "UV_NO_CONFIG=1",
		"UV_PYTHON_DOWNLOADS=never", "UV_NO_PROGRESS=1", "NO_COLOR=1", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
	}
	var readable []string
	for _, name := range passedOn {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
			if name == "SSL_CERT_FILE" {
				readable = append(readable, value)
			}
		}
	}
	out, code, err := m.pool.RunTool(ctx, interpreter.Tool{
		Runtime: runtime, Program: uv, Args: args, Env: env, Dir: dir, Readable: readable,
		Quota: job.Quota{MemoryBytes: toolMemory, Processes: toolProcesses, CPUs: toolProcessors, FileBytes: m.cfg.MaxBytes, CPUTime: m.cfg.Timeout},
	})
	cancel(nil)
	<-watching
	said := m.withoutSecrets(string(out))
	switch {
	case errors.Is(err, errLate):
		return &job.RefusedError{Code: job.FailPackagesLate, Message: fmt.Sprintf("the packages were not installed within %s (KAA_PACKAGES_TIMEOUT); name fewer of them, or pin their versions", m.cfg.Timeout)}
	case errors.Is(err, errTooLarge):
		return m.tooLarge()
	case err != nil:
		return fmt.Errorf("install packages: %w", err)
	case code == 0:
		return nil
	case code == interpreter.ToolFailed:
		return fmt.Errorf("confine the installer: %s", said)
	}
	return refusalOf(said, code)
}

// watch ends an installation that is larger than a set may be. Its downloads take as much again.
func (m *Manager) watch(ctx context.Context, dir string, end context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchEvery):
		}
		if size, files := measure(dir); size > 2*m.cfg.MaxBytes || files > 2*mostFiles {
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

// readLock returns the packages of a lock, and refuses it if one of them is blocked.
func (m *Manager) readLock(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the lock of packages: %w", err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(line, "==")
		if !ok || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "#") {
			continue
		}
		version, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		all = append(all, name+"=="+version)
		if slices.Contains(m.cfg.Block, job.PackageName(name)) {
			return nil, &job.RefusedError{Code: job.FailPackageBlocked, Message: fmt.Sprintf("the packages need %s, which this Kaa does not install; leave out the package that needs it", name)}
		}
	}
	return all, nil
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
var errForeign = errors.New("the packages have something else than files and directories")

// settleTree gives the files of a set the modes in which all users may read them, and returns their bytes. Wheels have neither
// links nor special files.
func settleTree(dir string) (size int64, err error) {
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
