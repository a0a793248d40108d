package process

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// minMinor is the minor version of the oldest Python 3 that repl_worker.py supports.
const minMinor = 8

// Python is the interpreter that a pool runs.
type Python struct {
	Path    string // the real executable, not the script of a version manager
	Version string // e.g. "3.11.2"
}

// askPython works on every Python since 2.6, so that the error can name an old version.
const askPython = `import sys; sys.stdout.write("%d.%d.%d\n%s" % (tuple(sys.version_info[:3]) + (sys.executable,)))`

// FindPython finds the executable and the version behind name. The python3 on PATH may be a shell
// script of a version manager, which takes longer than the interpreter itself. To resolve it once
// saves that time at every start.
func FindPython(ctx context.Context, name string, limit time.Duration) (Python, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The operator names the interpreter. -S: it does not look for packages, which is half of its start.
	cmd := exec.CommandContext(ctx, name, "-I", "-S", "-c", askPython)
	cmd.WaitDelay = 5 * time.Second // a busy machine reads the last output late
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Python{}, fmt.Errorf("find Python %q: %w%s", name, err, QuoteOutput(stderr.Bytes()))
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

// QuoteOutput formats the end of the output of a Python that did not start, for an error.
func QuoteOutput(out []byte) string {
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

// Env builds the environment of a zygote, which its workers inherit. It starts from an empty
// environment, so that none of the runner's secrets are in it. pass names variables of the runner
// that are not secret; Env copies them.
func Env(python string, pass []string) []string {
	env := map[string]string{
		"PATH":       filepath.Dir(python) + ":/usr/local/bin:/usr/bin:/bin",
		"LANG":       "C.UTF-8",
		"LC_ALL":     "C.UTF-8",
		"USER":       "user",
		"MPLBACKEND": "Agg", // no display
	}
	// The loader binds all C functions when the zygote starts. With lazy binding each worker
	// would look up again every function that the zygote has not called. The zygote cannot bind
	// the libraries loaded at its start later: opening them again with RTLD_NOW binds nothing.
	env["LD_BIND_NOW"] = "1"
	// Libraries must not start threads while the zygote imports them, because it could not fork
	// then.
	maps.Copy(env, ThreadVariables(1))
	for _, name := range pass {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// ThreadVariables returns environment variables that set the number of threads of numerical
// libraries. By default these libraries start one for each core of the machine, even if the
// execution's share is smaller.
func ThreadVariables(cpus float64) map[string]string {
	n := strconv.Itoa(max(1, int(math.Ceil(cpus))))
	vars := map[string]string{}
	for _, name := range []string{
		"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
	} {
		vars[name] = n
	}
	return vars
}

// afterLabel returns the text after a label; empty if the label is missing.
func afterLabel(text []byte, label string) string {
	_, rest, _ := strings.Cut(string(text), label)
	return rest
}
