package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// fakeTree makes directories like those of control groups below a new root. An entry is a
// path, with a star behind it if systemd has delegated it; the root is that of a container.
func fakeTree(t *testing.T, groups ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, group := range append([]string{"/"}, groups...) {
		path, delegated := strings.CutSuffix(group, "*")
		dir := filepath.Join(root, path)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{
			"cgroup.type": "domain", "cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": "", "cgroup.procs": "",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !delegated {
			continue
		}
		if err := unix.Setxattr(dir, "user.delegate", []byte("1"), 0); err != nil {
			t.Skip(err) // a file system without attributes
		}
	}
	return root
}

func TestBases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, own string
		groups    []string
		want      string
		shared    bool
	}{
		{"a container", "/", nil, "/", false},
		{"a container, divided", "/runner", []string{"/runner"}, "/", true},
		{"outside of what is mounted", "/../other", nil, "/", true},
		{"a service", "/system.slice/kaa.service", []string{"/system.slice/kaa.service"}, "/system.slice/kaa.service", true},
		{"a delegated service", "/system.slice/kaa.service", []string{"/system.slice/kaa.service*"}, "/system.slice/kaa.service", false},
		{"divided by another process", "/system.slice/kaa.service/runner", []string{"/system.slice/kaa.service*", "/system.slice/kaa.service/runner"}, "/system.slice/kaa.service", true},
		{"divided by systemd", "/system.slice/kaa.service/main", []string{"/system.slice/kaa.service*", "/system.slice/kaa.service/main"}, "/system.slice/kaa.service", true},
		{"a user's service", "/user.slice/user@1.service/app.slice/kaa.service", []string{"/user.slice/user@1.service*", "/user.slice/user@1.service/app.slice/kaa.service*"}, "/user.slice/user@1.service/app.slice/kaa.service", false},
		{"of a user's manager, at its top", "/user@1.service/kaa.service", []string{"/user@1.service*", "/user@1.service/kaa.service"}, "/user@1.service/kaa.service", true},
		{"a login", "/user.slice/session-3.scope", []string{"/user.slice/session-3.scope"}, "/user.slice/session-3.scope", true},
		{"a container seen from the machine", "/system.slice/docker-1.scope", []string{"/system.slice/docker-1.scope*"}, "/system.slice/docker-1.scope", false},
		{"made by hand", "/docker/1", []string{"/docker/1"}, "/docker/1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := fakeTree(t, tt.groups...)
			got := bases(root, tt.own)[0]
			if want := (base{filepath.Join(root, tt.want), tt.shared}); got != want {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
	t.Run("the machine's", func(t *testing.T) {
		t.Parallel()
		root := fakeTree(t)
		if err := os.Remove(filepath.Join(root, "cgroup.type")); err != nil {
			t.Fatal(err)
		}
		if got := bases(root, "/")[0]; !got.shared {
			t.Error("processes of the whole machine would be moved")
		}
	})
}

// TestOffered: what was not delegated is named.
func TestOffered(t *testing.T) {
	t.Parallel()
	for controllers, want := range map[string]string{
		"cpuset cpu io memory pids\n": "[memory pids cpu] [] true",
		"memory pids\n":               "[memory pids] [cpu] true",
		"memory\n":                    "[memory] [pids cpu] true",
		"cpu pids\n":                  "[] [] false",
		"":                            "[] [] false",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(controllers), 0o600); err != nil {
			t.Fatal(err)
		}
		use, missing, err := offered(dir)
		if got := fmt.Sprint(use, missing, err == nil); got != want {
			t.Errorf("%q: %s, want %s", controllers, got, want)
		}
	}
}

func TestEnable(t *testing.T) {
	t.Parallel()
	for before, want := range map[string]string{
		"":                  "+memory +pids",
		"cpu memory":        "+pids",
		"memory pids cpu\n": "memory pids cpu\n", // nothing is written
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "cgroup.subtree_control")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := enable(dir, []string{"memory", "pids"}); err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%q becomes %q, %v, want %q", before, got, err, want)
		}
	}
}

// TestOpenWay: all groups above are opened, and the own one is not.
func TestOpenWay(t *testing.T) {
	t.Parallel()
	root := fakeTree(t, "/a.slice", "/a.slice/b.service")
	openWay(root, filepath.Join(root, "a.slice/b.service"))
	for dir, want := range map[string]string{"/": "+cpu", "/a.slice": "+cpu", "/a.slice/b.service": ""} {
		got, err := os.ReadFile(filepath.Join(root, dir, "cgroup.subtree_control"))
		// The file of a kernel would list what was added; this one begins with what was written last.
		if err != nil || !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 {
			t.Errorf("%s passes on %q, %v; want %q", dir, got, err, want)
		}
	}
}

func TestMoveAll(t *testing.T) {
	t.Parallel()
	root := fakeTree(t, "/runner")
	if err := os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte("12\n0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := moveAll(root, filepath.Join(root, "runner")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "runner", "cgroup.procs"))
	if err != nil || string(got) != "12" {
		t.Errorf("moved %q, %v", got, err)
	}
}

func TestUnitOfManager(t *testing.T) {
	t.Parallel()
	const manager = "/sys/fs/cgroup/user.slice/user-1500.slice/user@1500.service"
	for dir, want := range map[string]string{
		manager + "/app.slice/kaa.service":        "kaa.service",
		manager + "/app.slice/run-u0.scope":       "run-u0.scope",
		manager + "/app.slice/kaa.service/runner": "",
		manager: "",
		"/sys/fs/cgroup/system.slice/kaa.service":                                       "",
		"/sys/fs/cgroup/user.slice/user-1.slice/user@1.service/app.slice/other.service": "",
	} {
		if unit, ok := unitOfManager(dir, 1500); ok != (want != "") || ok && unit != want {
			t.Errorf("%s: %q, %v, want %q", dir, unit, ok, want)
		}
	}
}

// TestGroups2 needs a machine with version 2 on which this process may make groups. KAA_TEST_CONTROL
// says that it is one.
func TestGroups2(t *testing.T) { //nolint:paralleltest // it compares processor times
	own := ownGroup2(t)
	groups, err := NewGroups()
	if os.Getenv("KAA_TEST_CONTROL") == ControlCgroup2 && groups.Control() != ControlCgroup2 {
		t.Fatalf("the groups are %s: %v", groups.Control(), err)
	}
	if groups.Control() != ControlCgroup2 {
		t.Skipf("this process can make no groups of version 2; its limits are held by %s", groups.Control())
	}
	t.Cleanup(func() {
		if err := groups.Close(); err != nil {
			t.Error(err)
		}
	})
	if missing := groups.Missing(); len(missing) > 0 {
		t.Errorf("there is no %q", missing)
	}
	if dir := filepath.Dir(groups.parents[""]); isDelegated(own) && (dir != own || groups.Outside()) {
		t.Errorf("groups are made in %s, not in the own %s", dir, own)
	}
	again, err := NewGroups()
	if err != nil || filepath.Dir(again.parents[""]) != filepath.Dir(groups.parents[""]) {
		t.Errorf("the second time they are made in %v, %v", again, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	t.Run("memory", func(t *testing.T) { //nolint:paralleltest // they share the groups
		group := limited2(t, groups, job.Quota{MemoryBytes: 32 << 20, Processes: 50})
		runIn(t, group, "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo $?")()
		if group.OOMKills() == 0 {
			t.Error("nothing was killed for its memory")
		}
	})
	t.Run("processes", func(t *testing.T) { //nolint:paralleltest // they share the groups
		group := limited2(t, groups, job.Quota{MemoryBytes: 1 << 30, Processes: 5})
		runIn(t, group, "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 >/dev/null & done 2>/dev/null")()
		group.KillOthers(0, 10*time.Second)
		text, err := os.ReadFile(filepath.Join(group.dirs[""], "pids.events"))
		if err != nil || strings.HasPrefix(string(text), "max 0") {
			t.Errorf("no process was refused: %q, %v", text, err)
		}
	})
	t.Run("processors", func(t *testing.T) { //nolint:paralleltest // they share the groups
		group := limited2(t, groups, job.Quota{MemoryBytes: 1 << 30, Processes: 50, CPUs: 0.2})
		runIn(t, group, "n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done")()
		text, err := os.ReadFile(filepath.Join(group.dirs[""], "cpu.stat"))
		if err != nil || strings.Contains(string(text), "nr_throttled 0\n") || group.CPUMicros() == 0 {
			t.Errorf("it was never held up: %q, %v", text, err)
		}
	})
}

// ownGroup2 is the group that this process begins in, less what divides it.
func ownGroup2(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(cgroupRoot, parseCgroups(text)[""])
	if parent := filepath.Dir(own); isUnit(parent) && !isUnit(own) {
		return parent
	}
	return own
}

func limited2(t *testing.T, groups *Groups, q job.Quota) *Group {
	t.Helper()
	group, err := groups.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		group.KillOthers(0, 10*time.Second)
		if err := group.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := group.Limit(q); err != nil {
		t.Fatal(err)
	}
	return group
}
