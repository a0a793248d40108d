package escape_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var namespaceKinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

// leftName marks what the cases try to leave behind; kit.py says LEFT.
const leftName = "kaa-left"

// runaway is the command line of a program that a leave-case started.
var runaway = regexp.MustCompile(`^sleep\x0045\.1[0-9]\x00$`)

// process is one of the machine's.
type process struct {
	pid, parent int
	comm        string
	zombie      bool
}

// processes lists all that /proc shows.
func processes() []process {
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []process
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// "pid (comm) state ppid …", where comm may contain anything.
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[end+1:]))
		pid, err1 := strconv.Atoi(strings.TrimSpace(string(text[:open])))
		parent, err2 := strconv.Atoi(fields[1])
		if err1 == nil && err2 == nil && fields[0] != "X" {
			all = append(all, process{pid, parent, string(text[open+1 : end]), fields[0] == "Z"})
		}
	}
	return all
}

// family returns the process root and all that came of it.
func family(root int) []process {
	all := processes()
	in := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if in[p.parent] && !in[p.pid] {
				in[p.pid], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(p process) bool { return !in[p.pid] })
}

func descends(pid, root int) bool {
	return slices.ContainsFunc(family(root), func(p process) bool { return p.pid == pid })
}

// runaways are the processes, anywhere on the machine, that the cases tried to
// leave behind and that were not there before.
func runaways() []string {
	var found []string
	for _, p := range processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if strings.HasPrefix(p.comm, leftName) || runaway.Match(line) {
			found = append(found, fmt.Sprintf("%d of %d %s, zombie: %t, %q", p.pid, p.parent, p.comm, p.zombie, line))
		}
	}
	return found
}

// endRunaways ends what was left behind, so that the cases that follow are not
// blamed for it.
func endRunaways() {
	const patience = 30 * time.Second
	alive := func(p process) bool { return !p.zombie && strings.HasPrefix(p.comm, leftName) }
	for start := time.Now(); slices.ContainsFunc(processes(), alive) && time.Since(start) < patience; {
		for _, p := range processes() {
			// By a descriptor: while processes chase each other, numbers are soon others'.
			fd, err := unix.PidfdOpen(p.pid, 0)
			if err != nil {
				continue
			}
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid))
			if strings.HasPrefix(string(comm), leftName) || runaway.Match(line) {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			}
			_ = unix.Close(fd)
		}
	}
}

// snapshot counts what there is of a Kaa by what it is.
type snapshot map[string]int

// take counts processes, namespaces, mounts, descriptors and files.
func (k *kaa) take() snapshot {
	members := family(k.pid)
	count := snapshot{}
	namespaces := map[string]map[string]bool{}
	for _, p := range members {
		count["process "+p.comm]++
		for _, kind := range namespaceKinds {
			if link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.pid, kind)); err == nil {
				if namespaces[kind] == nil {
					namespaces[kind] = map[string]bool{}
				}
				namespaces[kind][link] = true
			}
		}
	}
	for kind, links := range namespaces {
		count["namespace "+kind] = len(links)
	}
	for _, p := range members {
		if p.pid != k.pid { // the workers' come and go; those of Kaa may not
			continue
		}
		for kind, n := range descriptors(p.pid) {
			count["descriptor "+kind] += n
		}
		mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", p.pid))
		count["mounts"] = bytes.Count(mounts, []byte("\n"))
	}
	_ = filepath.WalkDir(k.workDir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			count["files at depth "+strconv.Itoa(strings.Count(strings.TrimPrefix(path, k.workDir), "/"))]++
		}
		return nil
	})
	count["control groups"] = len(k.cgroups())
	return count
}

// ofSlots says whether n of these are what a number of slots has. A runner has as many
// slots as it has ever needed at once, up to a bound, without those that it gave up.
func ofSlots(key string, n, slots int) bool {
	if key == "descriptor work directory" { // the counters of its control group
		const most = 4
		return slots != 0 && n%slots == 0 && n/slots > 0 && n/slots <= most
	}
	return n == slots && perSlot(key)
}

// perSlot says whether each slot has one of these.
func perSlot(key string) bool {
	return key == "descriptor unix socket" || key == "descriptor anon_inode:[pidfd]" || strings.HasPrefix(key, "namespace ") ||
		strings.HasPrefix(key, "process python")
}

// difference says how after differs from s; empty if it does not, but for a slot or
// two more, or some less.
func (s snapshot) difference(after snapshot) string {
	const most = 2
	slots := after["descriptor unix socket"] - s["descriptor unix socket"]
	if slots > most {
		slots = 0
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(s.union(after))) {
		n := after[key] - s[key]
		if n != 0 && !ofSlots(key, n, slots) {
			lines = append(lines, fmt.Sprintf("%s: %d before, %d now", key, s[key], after[key]))
		}
	}
	return strings.Join(lines, ", ")
}

func (s snapshot) union(other snapshot) snapshot {
	all := maps.Clone(s)
	maps.Copy(all, other)
	return all
}

var number = regexp.MustCompile(`\[\d+\]`)

// descriptors counts a process's open files by what they are. TCP connections are
// left out: a client of Redis keeps as many as it likes.
func descriptors(pid int) map[string]int {
	unix, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", pid))
	inodes := map[string]bool{}
	for line := range strings.Lines(string(unix)) {
		if fields := strings.Fields(line); len(fields) > 6 {
			inodes["socket:["+fields[6]+"]"] = true
		}
	}
	count := map[string]int{}
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, name := range names {
		link, err := os.Readlink(name)
		switch {
		case err != nil:
		case !strings.HasPrefix(link, "socket:"):
			kind := number.ReplaceAllString(link, "")
			if strings.HasPrefix(kind, "/") {
				kind = filepath.Dir(kind) // names differ
				if strings.Contains(kind, "kaa-") {
					kind = "work directory"
				}
			}
			count[kind]++
		case inodes[link]:
			count["unix socket"]++
		}
	}
	return count
}

// settled waits until the picture is the same a few times, and returns it.
func (k *kaa) settled(t *testing.T) snapshot {
	t.Helper()
	last, same := k.take(), 0
	eventually(t, "Kaa settles", func() string {
		now := k.take()
		if !maps.Equal(now, last) {
			last, same = now, 0
		}
		if same++; same < 10 {
			return fmt.Sprint(now)
		}
		return ""
	})
	return last
}

// highWater is the most memory the process ever had, in bytes.
func (k *kaa) highWater() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", k.pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// cgroups lists the control groups of this Kaa; their names have its process id.
func (k *kaa) cgroups() []string {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasPrefix(d.Name(), "kaa") || !strings.Contains(d.Name(), strconv.Itoa(k.pid)) {
			return nil //nolint:nilerr // it is gone
		}
		found = append(found, path)
		return nil
	})
	return found
}

// leftFiles are files of the cases in places that everybody shares, and System V
// objects with their keys.
func leftFiles() []string {
	var found []string
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/", "/usr", "/etc", "/var", "/home", "/root", "/dev/mqueue"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), leftName) {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, kind := range []string{"shm", "sem", "msg"} {
		text, _ := os.ReadFile("/proc/sysvipc/" + kind)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) == 0 {
				continue
			}
			if key, err := strconv.ParseInt(fields[0], 10, 64); err == nil && key >= ipcKey && key < ipcKey+0x200 {
				found = append(found, kind+" "+fields[0])
				removeIPC(kind, fields[1])
			}
		}
	}
	return found
}

// removeIPC removes a System V object: this process must not leave it either.
func removeIPC(kind, id string) {
	number, err := strconv.Atoi(id)
	if err != nil {
		return
	}
	switch kind {
	case "shm":
		_, _ = unix.SysvShmCtl(number, unix.IPC_RMID, nil)
	case "sem":
		_, _, _ = unix.Syscall6(unix.SYS_SEMCTL, uintptr(number), 0, unix.IPC_RMID, 0, 0, 0)
	case "msg":
		_, _, _ = unix.Syscall(unix.SYS_MSGCTL, uintptr(number), unix.IPC_RMID, 0)
	}
}

// hostMounts are the mounts that the test itself sees.
func hostMounts() string {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	return string(text)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
