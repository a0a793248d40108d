package app_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// confined is the runner of an ordinary user, in a process and a user namespace of its own: what
// a test takes from its environment, nothing else lacks.
type confined struct {
	sickness
	uid int
	dir string // of KAA_WORK_DIR
	cmd *exec.Cmd
}

// ordinary is a user that is not root, for whom RLIMIT_NPROC does not hold: the test's own, if that is one.
func ordinary() int {
	if uid := os.Geteuid(); uid != 0 {
		return uid
	}
	return 65534
}

// startConfined starts an API and such a runner of a user, which executes setup before, as a
// shell does.
func startConfined(t *testing.T, uid int, setup string, vars ...string) *confined {
	t.Helper()
	k := start(t, 0)
	gid := uid
	if uid == os.Geteuid() {
		gid = os.Getegid()
	}
	// The directories of a test, and of its binary, are for the test's own user.
	top, err := os.MkdirTemp("", "kaa-test-") //nolint:usetesting // another user has to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	c := &confined{uid: uid, sickness: sickness{kaa: k, python: filepath.Join(top, "python3")}, dir: filepath.Join(top, "work")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs.String())
		}
	})
	c.cure()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, err := range []error{os.Chmod(top, 0o755), os.Mkdir(c.dir, 0o700), os.Chown(c.dir, uid, gid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	_ = lis.Close()
	c.cmd = k.processWith(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-ec", setup + "\nexec /proc/self/fd/3"}
		cmd.Dir, cmd.ExtraFiles = "/", []*os.File{self}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
			Credential:  &syscall.Credential{NoSetGroups: true},
			Setpgid:     true,
		}
	}, "runner", append([]string{"KAA_PYTHON=" + c.python, "KAA_WORK_DIR=" + c.dir, "KAA_RUNNER_ADDR=" + addr, "TMPDIR=" + c.dir}, vars...)...)
	c.runner = &kaa{tb: t, client: k.client, url: "http://" + addr}
	testenv.Eventually(t, "the confined runner is ready", func() bool {
		a, err := c.runner.try(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && a.status == http.StatusOK
	})
	return c
}

// family are the runner's own process and all below it, parents first.
func (c *confined) family() []int {
	c.tb.Helper()
	all := []int{c.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob("/proc/" + strconv.Itoa(all[i]) + "/task/*/children")
		for _, list := range lists {
			text, _ := os.ReadFile(list) // it may have ended
			for field := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// limitProcesses lets the runner, and all that it has started but code, have as many processes.
func (c *confined) limitProcesses(most uint64) {
	c.tb.Helper()
	for range 2 { // one that was started meanwhile
		for _, pid := range c.family() {
			var limit unix.Rlimit
			if err := unix.Prlimit(pid, unix.RLIMIT_NPROC, nil, &limit); err != nil {
				continue // it has ended
			}
			limit.Cur = min(most, limit.Max)
			_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, &limit, nil)
		}
	}
}

// setSysctl changes a setting of the runner's own user namespace.
func (c *confined) setSysctl(name, value string) {
	c.tb.Helper()
	cmd := exec.CommandContext(c.tb.Context(), "nsenter", "--user=/proc/"+strconv.Itoa(c.cmd.Process.Pid)+"/ns/user", "--preserve-credentials",
		"/bin/sh", "-ec", `echo "$1" > "/proc/sys/$0"`, strings.ReplaceAll(name, ".", "/"), value)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.tb.Fatalf("sysctl %s=%s: %v %s", name, value, err, out)
	}
}

// seen is a path in the runner's own mount namespace.
func (c *confined) seen(path string) string {
	return "/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/root" + path
}

// fillDisk uses all that is left of the file system of the runner's work directory, and freeDisk
// gives it back.
func (c *confined) fillDisk() {
	c.tb.Helper()
	f, err := os.Create(c.seen(c.dir + "/ballast"))
	if err != nil {
		c.tb.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		c.tb.Fatalf("fill the disk: %v", err)
	}
}

func (c *confined) freeDisk() {
	c.tb.Helper()
	if err := os.Remove(c.seen(c.dir + "/ballast")); err != nil {
		c.tb.Fatal(err)
	}
}

const smallDisk = `mount -t tmpfs -o size=1m,mode=700 none "$KAA_WORK_DIR"`

// TestSickEnvironment: a runner whose environment has a fault says which, hurts no job beside a
// healthy runner, and goes on by itself once the fault has gone.
func TestSickEnvironment(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, setup string
		uid         int
		vars        []string
		harm, cure  func(c *confined)
		part        string
	}{
		{
			"no processes", "", ordinary(), nil,
			func(c *confined) { c.limitProcesses(0) },
			func(c *confined) { c.limitProcesses(unix.RLIM_INFINITY) },
			"processes",
		},
		{
			"no processes at level basic", "", ordinary(),
			[]string{"KAA_SANDBOX=basic"},
			func(c *confined) { c.limitProcesses(0) },
			func(c *confined) { c.limitProcesses(unix.RLIM_INFINITY) },
			"processes",
		},
		{
			"no user namespaces", "", os.Geteuid(), nil,
			func(c *confined) { c.setSysctl("user.max_user_namespaces", "0"); c.endAll() },
			func(c *confined) { c.setSysctl("user.max_user_namespaces", "1000") },
			"user namespace",
		},
		{
			"no pid namespaces", "", os.Geteuid(), nil,
			func(c *confined) { c.setSysctl("user.max_pid_namespaces", "0"); c.endAll() },
			func(c *confined) { c.setSysctl("user.max_pid_namespaces", "1000") },
			"pid namespace",
		},
		{
			"no disk at level basic", smallDisk, os.Geteuid(),
			[]string{"KAA_SANDBOX=basic"},
			(*confined).fillDisk, (*confined).freeDisk,
			"work directory",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := startConfined(t, tt.uid, tt.setup, tt.vars...)
			c.complete(4)
			_, stop := c.run(app.RunRunner)
			tt.harm(c)
			c.completeUntilSick(tt.part)
			testenv.Eventually(t, "its registration says so", func() bool {
				_, why, _ := strings.Cut(c.call(http.MethodGet, "/v1/runners", nil).raw, `"sick":"`)
				return strings.Contains(why, tt.part)
			})
			c.complete(40)
			tt.cure(c)
			c.awaitReady(http.StatusOK)
			if err := stop(); err != nil {
				t.Error(err)
			}
			c.complete(10) // there
		})
	}
}

// TestFullDiskAtStrict: at level strict code has file systems of its own, so a full disk is no
// fault, and neither is it for a runner that has to start its interpreters again.
func TestFullDiskAtStrict(t *testing.T) {
	t.Parallel()
	c := startConfined(t, os.Geteuid(), smallDisk)
	c.complete(2)
	c.fillDisk()
	c.complete(8)
	for _, pid := range c.started() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	c.complete(8)
	c.awaitReady(http.StatusOK)
}

// complete submits as many jobs, with a file each where the runner may read what the API keeps,
// and awaits their results.
func (c *confined) complete(jobs int) {
	c.tb.Helper()
	var ids []string
	for n := range jobs {
		body := fields{"code": "print(" + strconv.Itoa(n) + ")", "queue": "low"}
		if c.uid == os.Geteuid() {
			body["code"], body["files"] = "print(open('f').read())", []fields{{"path": "f", "content": strconv.Itoa(n)}}
		}
		ids = append(ids, c.submit(body))
	}
	for n, id := range ids {
		if a := c.await(id); a.str("state") != "completed" || a.str("attempt") != "1" || a.str("result.stdout") != strconv.Itoa(n)+"\n" {
			c.tb.Errorf("job %d: %s", n, a.raw)
		}
	}
}

// completeUntilSick does so until the runner is not ready, with this reason. The first reason may be that of a start that was under way.
func (c *confined) completeUntilSick(reason string) {
	c.tb.Helper()
	testenv.Eventually(c.tb, "it is not ready: "+reason, func() bool {
		c.complete(8)
		a := c.runner.call(http.MethodGet, "/readyz", nil)
		return a.status == http.StatusServiceUnavailable && a.str("code") == "start_failed" && strings.Contains(a.str("detail"), reason) || c.tb.Failed()
	})
}
