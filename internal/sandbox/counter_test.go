package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGroupCounts: a group counts what was used in it, and once it is removed, also
// while it is being read, nothing.
func TestGroupCounts(t *testing.T) {
	t.Parallel()
	groups, err := NewGroups()
	if err != nil {
		t.Skip(err)
	}
	group, err := groups.New()
	if err != nil {
		t.Fatal(err)
	}
	if n := openIn(t, groups); n == 0 || n > 4 {
		t.Errorf("%d descriptors for a group, want 1 to 4", n)
	}
	if kills, cpu := group.OOMKills(), group.CPUMicros(); kills != 0 || cpu != 0 {
		t.Errorf("a new group: %d kills, %d µs of processor time", kills, cpu)
	}
	if groups.version == 1 && group.kills == nil || group.cpu == nil {
		t.Error("nothing counts in a group")
	}
	group.Reset()

	var readers sync.WaitGroup
	begun, stop := make(chan struct{}, 4), make(chan struct{})
	for range cap(begun) {
		readers.Go(func() {
			for first := true; ; first = false {
				group.Reset()
				if n := group.OOMKills() + group.CPUMicros() + group.Peak(); n < 0 {
					t.Error(n)
				}
				if first {
					begun <- struct{}{}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	if err := group.Remove(); err != nil {
		t.Error(err)
	}
	close(stop)
	readers.Wait()
	if group.OOMKills() != 0 || group.CPUMicros() != 0 || group.Peak() != 0 {
		t.Error("a removed group counts")
	}
	if n := openIn(t, groups); n != 0 {
		t.Errorf("%d descriptors are left of a removed group", n)
	}
	if err := groups.Close(); err != nil {
		t.Error(err)
	}
}

// openIn counts the descriptors of this process that are below the directories of g.
func openIn(t *testing.T, g *Groups) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		path, err := os.Readlink(link)
		for _, parent := range g.parents {
			if err == nil && strings.HasPrefix(path, parent+"/") {
				n++
			}
		}
	}
	return n
}

// TestCounter reads files as control groups have them, of both versions.
func TestCounter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text, field string
		want        int64
	}{
		"number":          {"123456\n", "", 123456},
		"no number":       {"max\n", "", 0},
		"empty":           {"", "", 0},
		"version 1":       {"oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill", 7},
		"version 2":       {"low 0\nhigh 0\nmax 3\noom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill", 2},
		"first":           {"usage_usec 12345678901\nuser_usec 1\n", "usage_usec", 12345678901},
		"absent":          {"oom_kill_disable 0\n", "oom_kill", 0},
		"cut off":         {strings.Repeat("x 1\n", counterSize/4-3) + "oom_kill 123456\n", "oom_kill", 0},
		"empty with name": {"", "oom_kill", 0},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := openCounter(path, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		read := c.number
		if test.field != "" {
			read = func() int64 { return c.field(test.field) }
		}
		for range 2 { // it is read from its start
			if got := read(); got != test.want {
				t.Errorf("%s: %d, want %d", name, got, test.want)
			}
		}
		c.close()
		c.close()
		if got := read(); got != 0 {
			t.Errorf("%s: %d after close", name, got)
		}
	}
	if c, err := openCounter(filepath.Join(t.TempDir(), "absent"), unix.O_RDONLY); c != nil || err != nil {
		t.Errorf("a file that is not there: %v, %v", c, err)
	}
}
