package app

import (
	"context"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// What a process may hold follows from the memory that its control group has: else the kernel
// ends it, and all that it serves, where a few callers had to wait.
const (
	// goShare is Go's share of the group, in percent: near its end Go collects garbage more
	// often. The rest is for what Go does not count.
	goShare = 85
	// runnersGoShare is that of a process with interpreters: most of the group is for them.
	runnersGoShare = 25
	leastGo        = 128 << 20
	// A body is held several times for a moment: as it came, as values, as what Redis gets. An
	// answer counts all that is held for it.
	bodyParts, answerParts = 16, 4
)

// budget fits the process to the memory that it has, where the settings do not say.
func (s *shared) budget(ctx context.Context, environ Environment, process string) {
	most := groupMemory(os.DirFS("/"))
	if most == 0 {
		return
	}
	s.cfg.fitMemory(environ, most)
	share := int64(goShare)
	if process != "api" {
		share = runnersGoShare
	}
	limit := max(leastGo, most/100*share)
	if environ.get("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	s.log.InfoContext(ctx, "memory of the control group", slog.Int64("bytes", most), slog.Int64("go_limit", debug.SetMemoryLimit(-1)),
		slog.Int64("bodies", s.cfg.BodyMemory), slog.Int64("answers", s.cfg.AnswerMemory))
}

// fitMemory lowers what is held of bodies and answers to what fits into a group of that size.
func (c *Config) fitMemory(environ Environment, most int64) {
	if environ.get("KAA_BODY_MEMORY") == "" {
		c.BodyMemory = max(2*c.MaxBodyBytes, min(c.BodyMemory, most/bodyParts))
	}
	if environ.get("KAA_ANSWER_MEMORY") == "" {
		c.AnswerMemory = min(c.AnswerMemory, most/answerParts)
	}
}

// groupMemory is the memory limit of the control group that this process is in, of either
// version, or of one around it, whichever is lowest; 0 if there is none.
func groupMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	lowest := int64(math.MaxInt64)
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		switch {
		case fields[1] == "": // version 2
			for _, at := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
				lowest = min(lowest, lowestLimit(root, at, fields[2], "memory.max"))
			}
		case strings.Contains(","+fields[1]+",", ",memory,"):
			lowest = min(lowest, lowestLimit(root, "sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes"))
		}
	}
	if lowest >= unlimitedMemory {
		return 0
	}
	return lowest
}

// unlimitedMemory: groups of version 1 without a limit have a number about as high as can be.
const unlimitedMemory = 1 << 50

// lowestLimit looks at a group and those around it. In a container its path may be that of the
// machine, which is not there: then only what is mounted is looked at.
func lowestLimit(root fs.FS, mount, group, file string) int64 {
	lowest := int64(math.MaxInt64)
	for {
		if text, err := fs.ReadFile(root, path.Join(mount, group, file)); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // or it is "max"
				lowest = min(lowest, n)
			}
		}
		if group == "/" || group == "." || group == "" {
			return lowest
		}
		group = path.Dir(group)
	}
}
