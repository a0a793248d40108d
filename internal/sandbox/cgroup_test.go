package sandbox

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// TestPeakWithoutFiles: copies of files that an earlier execution was the first to use are
// not in the peak of the next.
func TestPeakWithoutFiles(t *testing.T) {
	t.Parallel()
	group := groupOfVersion1(t)
	group.Reset() // as with a new slot
	end := runIn(t, group, "head -c 300000000 /dev/zero >file; sync file")
	end()
	if used := group.used.number(); used < 200<<20 {
		t.Skipf("files do not count here: %d bytes are used", used)
	}
	if peak := group.Peak(); peak < 200<<20 {
		t.Errorf("the peak with files is %d bytes", peak)
	}
	group.Reset()
	if peak := group.Peak(); peak > 16<<20 {
		t.Errorf("the next peak begins at %d bytes", peak)
	}
}

// TestLimitOfFullGroup: a limit below what a group cannot do without is refused, and one
// below what it can is not.
func TestLimitOfFullGroup(t *testing.T) {
	t.Parallel()
	group := groupOfVersion1(t)
	low := job.Quota{MemoryBytes: 16 << 20}
	end := runIn(t, group, "x=$(head -c 50000000 /dev/zero | tr '\\0' x); echo; read y")
	if err := group.Limit(low); !errors.Is(err, unix.EBUSY) {
		t.Errorf("with the memory of a process: %v", err)
	}
	end()
	runIn(t, group, "head -c 300000000 /dev/zero >file; cat file file >/dev/null")()
	if err := group.Limit(low); err != nil {
		t.Errorf("with files: %v", err)
	}
}

func TestWhileBusy(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	for _, tt := range []struct {
		name    string
		results []error
		emptied int
		want    error
	}{
		{"at once", []error{nil}, 0, nil},
		{"emptied", []error{unix.EBUSY, nil}, 1, nil},
		{"emptied twice", []error{unix.EBUSY, unix.EBUSY, nil}, 2, nil},
		{"busy", []error{unix.EBUSY, unix.EBUSY, unix.EBUSY, unix.EBUSY}, 3, unix.EBUSY},
		{"another error", []error{other}, 0, other},
	} {
		emptied, calls := 0, 0
		err := whileBusy(func() error { calls++; return tt.results[calls-1] }, func() { emptied++ })
		if !errors.Is(err, tt.want) || emptied != tt.emptied || calls != len(tt.results) {
			t.Errorf("%s: %v, emptied %d times, set %d times", tt.name, err, emptied, calls)
		}
	}
}

// runIn has a shell execute a script in a group. It returns when that is over, or has
// printed a line, with what waits for the end.
func runIn(t *testing.T, group *Group, script string) func() {
	t.Helper()
	// It waits until it is in the group.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "read x\n"+script)
	cmd.Dir = t.TempDir()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := group.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		t.Error(err)
	}
	_, _ = stdout.Read(make([]byte, 1))
	return func() {
		_ = stdin.Close() // a script that waits goes on
		_ = cmd.Wait()
	}
}

func groupOfVersion1(t *testing.T) *Group {
	t.Helper()
	groups, err := NewGroups()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := groups.Close(); err != nil {
			t.Error(err)
		}
	})
	if groups.version != 1 {
		t.Skip("version 2 refuses no limit, and its peak is not asked for")
	}
	group, err := groups.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := group.Remove(); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(filepath.Join(group.dirs["memory"], "memory.force_empty")); err != nil {
		t.Skip(err)
	}
	return group
}
