package sandbox

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// Ceilings are the limits of this process and its children together; 0 where there is none.
type Ceilings struct {
	Memory    int64 // bytes
	Processes int64 // and threads
	Files     int64 // open at once
	// The sources of Processes and Files, by the names that an operator knows.
	ProcessesOf, FilesOf string
}

// OwnCeilings reads the limits of the control group of this process and those around it, of
// either version; of its user; and of the machine.
func OwnCeilings(root fs.FS) Ceilings {
	c := Ceilings{Memory: groupLimit(root, "memory", "memory.max", "memory.limit_in_bytes")}
	lower := func(to *int64, of *string, value int64, name string) {
		if value > 0 && (*to == 0 || value < *to) {
			*to, *of = value, name
		}
	}
	lower(&c.Processes, &c.ProcessesOf, groupLimit(root, "pids", "pids.max", "pids.max"), "pids.max of the control group")
	lower(&c.Processes, &c.ProcessesOf, number(root, "proc/sys/kernel/pid_max"), "sysctl kernel.pid_max")
	lower(&c.Processes, &c.ProcessesOf, number(root, "proc/sys/kernel/threads-max"), "sysctl kernel.threads-max")
	lower(&c.Files, &c.FilesOf, number(root, "proc/sys/fs/file-max"), "sysctl fs.file-max")
	return c
}

// OfUser lowers them to the limits of the user of this process, unless it is root, whose
// processes the kernel does not count.
func (c Ceilings) OfUser() Ceilings {
	var limit unix.Rlimit
	if unix.Geteuid() == 0 || unix.Getrlimit(unix.RLIMIT_NPROC, &limit) != nil || limit.Cur > math.MaxInt64 {
		return c
	}
	if n := int64(limit.Cur); n > 0 && (c.Processes == 0 || n < c.Processes) {
		c.Processes, c.ProcessesOf = n, "RLIMIT_NPROC of the user"
	}
	return c
}

// The runner's own part of each: its threads, and the zygotes; Go's part of the memory.
const (
	ownThreads = 128
	ownMemory  = 256 << 20
)

// spareThreads is more than a busy runner uses at once.
const spareThreads = 48

// Threads returns how many threads a runner makes at its start: at most half of its own part of
// the processes.
func (c Ceilings) Threads() int {
	if c.Processes == 0 {
		return spareThreads
	}
	sandboxes, _ := c.Sandboxes()
	return int(min(spareThreads, (c.Processes-sandboxes)/2))
}

// Sandboxes returns the part of all sandboxes together; 0 where there is no limit.
func (c Ceilings) Sandboxes() (processes, memory int64) {
	if c.Processes > 0 {
		processes = max(c.Processes-ownThreads, c.Processes/2)
	}
	if c.Memory > 0 {
		memory = max(c.Memory-ownMemory, c.Memory/4*3)
	}
	return processes, memory
}

// Fit lowers the limits of one execution so that it gets at most half of the processes for all,
// and of the open files. It returns the limits that it lowered.
func (c Ceilings) Fit(q job.Quota) (_ job.Quota, lowered []string) {
	if all, _ := c.Sandboxes(); all > 0 && int64(q.Processes) > all/2 {
		lowered = append(lowered, fmt.Sprintf("processes from %d to %d, because of %s (%d)", q.Processes, all/2, c.ProcessesOf, c.Processes))
		q.Processes = int(all / 2)
	}
	if c.Files > 0 && q.Processes > 0 && int64(q.OpenFiles)*int64(q.Processes) > c.Files/2 {
		most := max(64, c.Files/2/int64(q.Processes))
		if most < int64(q.OpenFiles) {
			lowered = append(lowered, fmt.Sprintf("openFiles from %d to %d, because of %s (%d)", q.OpenFiles, most, c.FilesOf, c.Files))
			q.OpenFiles = int(most)
		}
	}
	return q, lowered
}

// number reads a file with one number; 0 if there is none, or one that no machine has.
func number(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= 1<<50 { // "max", or its equivalent in version 1
		return 0
	}
	return n
}

// MemoryOf returns the memory in use where this process is, and how much there is: of its control group, if that has a limit, else of
// the machine. Memory that the kernel can take back is not in use. 0 stands for a number that cannot be read.
func MemoryOf(root fs.FS) (used, limit int64) {
	var group string
	limit, group = lowestLimit(root, "memory", "memory.max", "memory.limit_in_bytes")
	if limit > 0 {
		used = max(number(root, path.Join(group, "memory.current")), number(root, path.Join(group, "memory.usage_in_bytes")))
		used = max(0, used-statOf(root, path.Join(group, "memory.stat"), "inactive_file"))
	}
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return used, limit
	}
	machine := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err == nil {
			machine[name] = n << 10
		}
	}
	if total := machine["MemTotal"]; limit == 0 || total > 0 && total < limit {
		return max(0, total-machine["MemAvailable"]), total
	}
	return used, limit
}

// statOf returns a field of a file whose lines are a name and a number each; 0 if there is none.
func statOf(root fs.FS, name, field string) int64 {
	text, _ := fs.ReadFile(root, name) // an absent one has no fields
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == field {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// groupLimit returns the lowest limit of the control group and those around it.
func groupLimit(root fs.FS, controller, file2, file1 string) int64 {
	lowest, _ := lowestLimit(root, controller, file2, file1)
	return lowest
}

// lowestLimit is groupLimit with the directory of the group that has the limit.
func lowestLimit(root fs.FS, controller, file2, file1 string) (lowest int64, dir string) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	look := func(mount, group, file string) {
		for {
			if n := number(root, path.Join(mount, group, file)); n > 0 && (lowest == 0 || n < lowest) {
				lowest, dir = n, path.Join(mount, group)
			}
			if group == "/" || group == "." || group == "" {
				return
			}
			group = path.Dir(group) // a container shows only the mounted part
		}
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[1] == "":
			look("sys/fs/cgroup", fields[2], file2)
			look("sys/fs/cgroup/unified", fields[2], file2)
		case strings.Contains(","+fields[1]+",", ","+controller+","):
			look("sys/fs/cgroup/"+controller, fields[2], file1)
		}
	}
	return lowest, dir
}
