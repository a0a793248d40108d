package interpreter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestMemoryOfAWorker: what the zygote has arranged is what its forks have.
func TestMemoryOfAWorker(t *testing.T) {
	testenv.Tricky(t)
	t.Parallel()
	res := execute(t, shared(t), job.Spec{Code: "print(open('/proc/self/maps').read())"})
	if res.Status != job.StatusOK {
		t.Fatal(outcome(res))
	}
	maps := mappings(res.Stdout)
	if len(maps) == 0 {
		t.Fatalf("no mappings in %q", res.Stdout)
	}
	t.Run("program", func(t *testing.T) {
		t.Parallel()
		needHugePages(t)
		if !slices.ContainsFunc(maps, func(m mapping) bool { return m.mode == "r-xp" && strings.HasPrefix(m.path, "/memfd:program") }) {
			t.Errorf("the program is not on huge pages:\n%s", res.Stdout)
		}
	})
	t.Run("libraries", func(t *testing.T) {
		t.Parallel()
		for i, m := range maps[1:] {
			before := maps[i]
			if before.mode == "r--p" && m.mode == "r-xp" && before.path == m.path && before.end == m.start &&
				strings.Contains(filepath.Base(m.path), ".so") {
				t.Errorf("%s is mapped apart from its program", m.path)
			}
		}
	})
}

// mapping is a line of /proc/self/maps.
type mapping struct{ start, end, mode, path string }

func mappings(text string) []mapping {
	var all []mapping
	for line := range strings.Lines(text) {
		// addresses, mode, offset, device, inode, path
		fields := strings.Fields(line)
		if len(fields) < 6 {
			continue
		}
		start, end, _ := strings.Cut(fields[0], "-")
		all = append(all, mapping{start, end, fields[1], fields[5]})
	}
	return all
}

// needHugePages skips a test where the kernel does not make huge pages when it is told to.
func needHugePages(t *testing.T) {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 1 {
		t.Skipf("Linux %s does not make huge pages when told to, 6.1 does", release)
	}
	for _, file := range []string{"enabled", "shmem_enabled"} {
		setting, err := os.ReadFile(filepath.Join("/sys/kernel/mm/transparent_hugepage", file))
		if err != nil {
			t.Skipf("the kernel has no transparent huge pages: %v", err)
		}
		if file == "enabled" && strings.Contains(string(setting), "[never]") || strings.Contains(string(setting), "[deny]") {
			t.Skipf("transparent huge pages are off: %s is %s", file, setting)
		}
	}
}
