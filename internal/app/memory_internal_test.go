package app

import (
	"testing"
	"testing/fstest"
)

func TestGroupMemory(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tests := map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"nothing": {fstest.MapFS{}, 0},
		"version 2, around it": {fstest.MapFS{
			"proc/self/cgroup":                       file("0::/a/b/c\n"),
			"sys/fs/cgroup/a/b/c/memory.max":         file("max\n"),
			"sys/fs/cgroup/a/b/memory.max":           file("1000\n"),
			"sys/fs/cgroup/a/memory.max":             file("2000\n"),
			"sys/fs/cgroup/memory.limit_in_bytes":    file("1\n"),
			"sys/fs/cgroup/memory/memory.max":        file("1\n"),
			"sys/fs/cgroup/other/memory.max":         file("1\n"),
			"sys/fs/cgroup/a/b/c/memory.high":        file("1\n"),
			"sys/fs/cgroup/a/b/c/memory.swap.max":    file("1\n"),
			"sys/fs/cgroup/a/b/c/d/memory.max":       file("1\n"),
			"sys/fs/cgroup/a/b/c/cgroup.controllers": file("memory\n"),
		}, 1000},
		"version 2, a container's own": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("536870912\n"),
		}, 512 << 20},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("5:cpu,cpuacct:/x\n4:memory:/x\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("700\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		}, 700},
		"version 1, the machine's path": {fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/docker/0123\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("800\n"),
		}, 800},
		"version 1, no limit": {fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/\n0::/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 0},
	}
	for name, tt := range tests {
		if got := groupMemory(tt.files); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestFitMemory: what is held follows the memory, unless it is set.
func TestFitMemory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		environ         Environment
		most            int64
		bodies, answers int64
	}{
		{nil, 512 << 20, 32 << 20, 128 << 20},
		{nil, 64 << 20, 32 << 20, 16 << 20}, // each of two keys has room for the largest body
		{nil, 64 << 30, 256 << 20, 256 << 20},
		{Environment{"KAA_BODY_MEMORY=50000000", "KAA_ANSWER_MEMORY=7"}, 512 << 20, 50_000_000, 7},
		{Environment{"KAA_BODY_MEMORY=0", "KAA_ANSWER_MEMORY=0"}, 512 << 20, 0, 0},
	}
	for _, tt := range tests {
		c, err := LoadConfig(tt.environ)
		if err != nil {
			t.Fatal(err)
		}
		if c.fitMemory(tt.environ, tt.most); c.BodyMemory != tt.bodies || c.AnswerMemory != tt.answers {
			t.Errorf("%v of %d: bodies %d, answers %d; want %d, %d", tt.environ, tt.most, c.BodyMemory, c.AnswerMemory, tt.bodies, tt.answers)
		}
	}
}
