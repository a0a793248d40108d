package app

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// A process derives its memory limits from the limit of its control group. Without them the kernel
// would kill the process, and all that it serves, when it would suffice that a few callers wait.
const (
	// goShare is Go's share of the control group's memory, in percent. Near this limit Go collects
	// garbage more often. The rest is for memory that Go does not count.
	goShare = 85
	// runnersGoShare is Go's share in a process with interpreters, which need most of the memory.
	runnersGoShare = 25
	leastGo        = 128 << 20
)

// budget derives memory limits that are not set from the memory of the control group.
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
