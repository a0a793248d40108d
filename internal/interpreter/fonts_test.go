package interpreter_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// A matplotlib that looks for fonts as the real one does, and says which it has. What it
// finds tells the process that has looked.
const fakeFonts = `
import os
from matplotlib import get_cachedir
class FontManager: _find_fonts_by_props = None
path = os.path.join(get_cachedir(), "fontlist-v1.json")
if os.path.exists(path):
    found = "kept " + open(path).read()
else:
    found = "looked"
    with open(path, "w") as file: file.write("by %d" % (os.getppid() != 0))
`

const fakeMatplotlib = `
import os
def get_cachedir():
    os.makedirs(os.environ["MPLCONFIGDIR"], exist_ok=True)
    return os.environ["MPLCONFIGDIR"]
`

// withFonts is an interpreter that has that matplotlib, for users of any id.
func withFonts(t *testing.T) string {
	t.Helper()
	path := venv(t, map[string]string{"matplotlib/__init__": fakeMatplotlib, "matplotlib/font_manager": fakeFonts})
	top := filepath.Dir(filepath.Dir(path))
	if out, err := exec.CommandContext(t.Context(), "chmod", "-R", "a+rX", top).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// Fonts are looked for once. Code gets the result, cannot change it for others, and programs
// with fonts of their own look themselves.
func TestFontsAreFoundOnce(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	testenv.Tricky(t)
	const show = "import matplotlib.font_manager as f\nprint(f.found)"
	const spoil = show + `
import ctypes, glob, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
for line in open("/proc/self/maps"):
    if "memfd:fonts" in line:
        place, mode = line.split()[:2]
        start, end = [int(word, 16) for word in place.split("-")]
        print(mode, libc.mprotect(start, end - start, 3))
open(f.path, "w").write("spoilt")
`
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		path := withFonts(t)
		pool := newPool(t, preloaded(path, "json"), withLevel(level))
		testenv.Eventually(t, "fonts", func() bool {
			return strings.HasPrefix(execute(t, pool, job.Spec{Code: show}).Stdout, "kept by 1")
		})
		wantText(t, execute(t, pool, job.Spec{Code: spoil}), "ok 0", "kept by 1\nr--s -1\n", "")
		wantText(t, execute(t, pool, job.Spec{Code: show}), "ok 0", "kept by 1\n", "")
		own := "import os\nos.makedirs(os.path.expanduser('~/.fonts'))\n"
		wantText(t, execute(t, pool, job.Spec{Code: own + show}), "ok 0", "looked\n", "")
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		path := withFonts(t)
		pool := newPool(t, preloaded(path, "json"), func(c *interpreter.Config) { c.Plain = append(slices.Clone(c.Plain), interpreter.PlainFonts) })
		wantText(t, execute(t, pool, job.Spec{Code: show + "\nprint('memfd:fonts' in open('/proc/self/maps').read())"}), "ok 0", "looked\nFalse\n", "")
	})
}
