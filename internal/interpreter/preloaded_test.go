package interpreter_test

import (
	"runtime"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// A module that fills memory: much of a size, and one that is a mapping of its own.
const large = `
names = [str(i) * 5 for i in range(50000)]
block = bytearray(b"kaa" * (1 << 20))
`

// What is preloaded is in a file in memory that workers share. Whatever one of them writes, or
// tries to change of the file, no other sees.
func TestPreloadedIsShared(t *testing.T) {
	testenv.Tricky(t)
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("nothing is shared on this architecture")
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		path := venv(t, map[string]string{"large": large})
		pool := newPool(t, preloaded(path, "large"), withLevel(level))
		const look = `
import ctypes, large
address = ctypes.addressof((ctypes.c_char * len(large.block)).from_buffer(large.block)) + (2 << 20)
shared = [line.split()[0] for line in open("/proc/self/maps") if "memfd:preloaded" in line]
inside = [s for s in shared if int(s.split("-")[0], 16) <= address < int(s.split("-")[1], 16)]
print(len(inside), large.block == b"kaa" * (1 << 20), large.names == [str(i) * 5 for i in range(50000)])
`
		const spoil = look + `
import mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
large.block[2 << 20:] = bytes(1 << 20)
MADV_REMOVE = 9
print(libc.madvise(address & -4096, 4096, MADV_REMOVE))
for mode in (os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
    try:
        os.write(os.open("/proc/self/map_files/" + inside[0], mode), b"spoilt")
        print("written")
    except OSError as error:
        print("refused")
`
		for range 2 {
			res := execute(t, pool, job.Spec{Code: spoil})
			wantText(t, res, "ok 0", "1 True True\n-1\nrefused\nrefused\n", "")
		}
		wantText(t, execute(t, pool, job.Spec{Code: look}), "ok 0", "1 True True\n", "")
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		path := venv(t, map[string]string{"large": large})
		pool := newPool(t, preloaded(path, "large"), func(c *interpreter.Config) { c.PlainMemory = true })
		res := execute(t, pool, job.Spec{Code: `print("memfd:preloaded" in open("/proc/self/maps").read())`})
		wantText(t, res, "ok 0", "False\n", "")
	})
}
