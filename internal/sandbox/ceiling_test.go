package sandbox_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

func TestOwnCeilings(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	machine := func(more fstest.MapFS) fstest.MapFS {
		more["proc/sys/kernel/pid_max"] = file("32768")
		more["proc/sys/kernel/threads-max"] = file("100000")
		more["proc/sys/fs/file-max"] = file("9223372036854775807")
		return more
	}
	for _, tt := range []struct {
		name              string
		root              fstest.MapFS
		memory, processes int64
		of                string
	}{
		{"no control groups", machine(fstest.MapFS{}), 0, 32768, "sysctl kernel.pid_max"},
		{"version 2, the lowest of those around", machine(fstest.MapFS{
			"proc/self/cgroup": file("0::/a/b"), "sys/fs/cgroup/a/b/pids.max": file("max"), "sys/fs/cgroup/a/pids.max": file("768"),
			"sys/fs/cgroup/a/b/memory.max": file("5000"), "sys/fs/cgroup/a/memory.max": file("4000"),
		}), 4000, 768, "pids.max of the control group"},
		{"version 1, in a container", machine(fstest.MapFS{
			"proc/self/cgroup":                             file("5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n3:pids:/docker/x"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("7000"),
			"sys/fs/cgroup/pids/pids.max":                  file("100"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":   file("1"),
			"sys/fs/cgroup/memory/docker/y/memory.no_such": file("1"),
		}), 7000, 100, "pids.max of the control group"},
		{"version 2, a container's own", machine(fstest.MapFS{
			"proc/self/cgroup": file("0::/"), "sys/fs/cgroup/memory.max": file("536870912"), "sys/fs/cgroup/pids.max": file("max"),
			"sys/fs/cgroup/memory.high": file("1"), "sys/fs/cgroup/memory.limit_in_bytes": file("1"),
		}), 512 << 20, 32768, "sysctl kernel.pid_max"},
		{"version 1, a limit within none", machine(fstest.MapFS{
			"proc/self/cgroup": file("5:cpu,cpuacct:/x\n4:memory:/x"), "sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("700"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712"),
		}), 700, 32768, "sysctl kernel.pid_max"},
		{"version 1, no limit", machine(fstest.MapFS{
			"proc/self/cgroup": file("5:memory:/x"), "sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("9223372036854771712"),
		}), 0, 32768, "sysctl kernel.pid_max"},
	} {
		c := sandbox.OwnCeilings(tt.root)
		if c.Memory != tt.memory || c.Processes != tt.processes || c.ProcessesOf != tt.of || c.Files != 0 {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
}

// TestFit: one execution gets no more than half of what there is, and something is left for the
// runner.
func TestFit(t *testing.T) {
	t.Parallel()
	c := sandbox.Ceilings{Processes: 768, ProcessesOf: "p", Files: 100_000, FilesOf: "f", Memory: 2560 << 20}
	all, memory := c.Sandboxes()
	if all != 640 || memory != 2304<<20 {
		t.Errorf("%d processes and %d bytes for all", all, memory)
	}
	for processes, want := range map[int64]int{0: 48, 768: 48, 64: 16} {
		if got := (sandbox.Ceilings{Processes: processes}).Threads(); got != want {
			t.Errorf("%d threads of %d processes, want %d", got, processes, want)
		}
	}
	for _, tt := range []struct{ asked, want job.Quota }{
		{job.Quota{Processes: 128, OpenFiles: 300}, job.Quota{Processes: 128, OpenFiles: 300}},
		{job.Quota{Processes: 1024, OpenFiles: 4096}, job.Quota{Processes: 320, OpenFiles: 156}},
	} {
		got, lowered := c.Fit(tt.asked)
		if got != tt.want || (len(lowered) == 0) != (tt.asked == tt.want) {
			t.Errorf("%+v becomes %+v, %s", tt.asked, got, strings.Join(lowered, "; "))
		}
	}
	if got, lowered := (sandbox.Ceilings{}).Fit(job.Quota{Processes: 1 << 20}); got.Processes != 1<<20 || lowered != nil {
		t.Errorf("without ceilings: %+v", got)
	}
}

// TestMemoryOf: the memory of the group that has the limit, without what the kernel can take back; or of the machine.
func TestMemoryOf(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	const machine = "MemTotal:        1000 kB\nMemFree:   10 kB\nMemAvailable:     400 kB"
	for name, c := range map[string]struct {
		root        fstest.MapFS
		used, limit int64
	}{
		"a machine": {fstest.MapFS{"proc/meminfo": file(machine)}, 600 << 10, 1000 << 10},
		"a group around this one": {fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/a/b"), "sys/fs/cgroup/a/memory.max": file("900000"), "sys/fs/cgroup/a/b/memory.max": file("max"),
			"sys/fs/cgroup/a/memory.current": file("500000"), "sys/fs/cgroup/a/b/memory.current": file("1"), "sys/fs/cgroup/a/memory.stat": file("anon 1\ninactive_file 100000"),
		}, 400000, 900000},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("5:memory:/x"), "sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("700"), "sys/fs/cgroup/memory/x/memory.usage_in_bytes": file("300"),
		}, 300, 700},
		"a limit above the machine": {fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/"), "sys/fs/cgroup/memory.max": file("99999999"), "sys/fs/cgroup/memory.current": file("5"),
		}, 600 << 10, 1000 << 10},
		"nothing": {fstest.MapFS{}, 0, 0},
	} {
		if used, limit := sandbox.MemoryOf(c.root); used != c.used || limit != c.limit {
			t.Errorf("%s: %d of %d, want %d of %d", name, used, limit, c.used, c.limit)
		}
	}
}
