package interpreter

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// minMinor is the oldest Python 3 that repl_worker.py runs on.
const minMinor = 8

// Python is the interpreter that a pool runs.
type Python struct {
	Path    string // the real executable, not a shim
	Version string // e.g. "3.11.2"
}

// askPython works on every Python since 2.6, so that an old one can be named.
const askPython = `import sys; sys.stdout.write("%d.%d.%d\n%s" % (tuple(sys.version_info[:3]) + (sys.executable,)))`

// resolvePython finds out what name really is. The python3 on PATH may be a shell
// script of a version manager that takes longer than the interpreter itself;
// asking once saves that at every spawn.
func resolvePython(ctx context.Context, name string, limit time.Duration) (Python, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The operator names the interpreter.
	cmd := exec.CommandContext(ctx, name, "-I", "-c", askPython)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Python{}, fmt.Errorf("find Python %q: %w%s", name, err, quoteOutput(stderr.Bytes()))
	}
	version, path, ok := strings.Cut(string(out), "\n")
	if !ok || !filepath.IsAbs(path) {
		return Python{}, fmt.Errorf("find Python %q: it answered %.100q instead of its version and path", name, out)
	}
	if !supported(version) {
		return Python{}, fmt.Errorf("find Python %q: %s is version %s, need 3.%d or later", name, path, version, minMinor)
	}
	return Python{Path: path, Version: version}, nil
}

func supported(version string) bool {
	parts := strings.Split(version, ".")
	if len(parts) != 3 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major > 3 || major == 3 && minor >= minMinor)
}

// quoteOutput shows what a Python that did not start had to say: its last words.
func quoteOutput(out []byte) string {
	const most = 1000
	out = bytes.TrimSpace(out)
	if len(out) == 0 {
		return ""
	}
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return fmt.Sprintf(" (it said: %s)", strings.ToValidUTF8(string(out), "\uFFFD"))
}

// workerEnv is the environment of a worker: built from nothing, so that none of
// the runner's secrets are in it.
func workerEnv(python string, passEnv []string, d dirs) []string {
	env := map[string]string{
		"PATH":   filepath.Dir(python) + ":/usr/local/bin:/usr/bin:/bin",
		"LANG":   "C.UTF-8",
		"LC_ALL": "C.UTF-8",
	}
	for _, name := range passEnv {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	env["HOME"], env["TMPDIR"] = d.work, d.tmp
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}
