package app

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/sandbox"
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
)

// budget fits the process to the memory that it has, where the settings do not say.
func (s *shared) budget(ctx context.Context, environ config.Environment, process string) {
	most := sandbox.OwnCeilings(os.DirFS("/")).Memory
	if most == 0 {
		return
	}
	s.cfg.FitMemory(environ, most)
	share := int64(goShare)
	if process != "api" {
		share = runnersGoShare
	}
	limit := max(leastGo, most/100*share)
	if environ.Get("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	s.log.InfoContext(ctx, "memory of the control group", slog.Int64("bytes", most), slog.Int64("go_limit", debug.SetMemoryLimit(-1)),
		slog.Int64("bodies", s.cfg.BodyMemory), slog.Int64("answers", s.cfg.AnswerMemory))
}
