package packages

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// lease is the right of this runner to install a set, while others wait. It tells them, and callers, how far the installation is.
// All methods may be called on nil, which tells nobody anything.
type lease struct {
	m    *Manager
	name string
	end  context.CancelFunc
	kept chan struct{} // closed when keep has ended

	mu   sync.Mutex
	now  job.Installation
	rest []byte // of the output of the installer: the beginning of a line
	skip bool   // the rest of that line is left out, because it is too long
}

const (
	// showEvery is the period in which what has changed is told.
	showEvery = time.Second
	// mostLine is the largest part of a line that is told.
	mostLine = 200
)

// takeLease returns nil if another runner has the right.
func (m *Manager) takeLease(name string) (*lease, error) {
	taken, err := m.cfg.Records.TakeInstallation(m.life, name, installLease)
	if err != nil || !taken {
		return nil, err
	}
	return m.newLease(name), nil
}

func (m *Manager) newLease(name string) *lease {
	l := &lease{m: m, name: name, kept: make(chan struct{}), now: job.Installation{Step: job.InstallWaits}}
	ctx, end := context.WithCancel(m.life)
	l.end = end
	go func() {
		defer close(l.kept)
		l.keep(ctx)
	}()
	return l
}

// keep prolongs the right, and tells how far the installation is, until ctx ends.
func (l *lease) keep(ctx context.Context) {
	tick := time.NewTicker(showEvery)
	defer tick.Stop()
	told, at := job.Installation{Step: job.InstallWaits}, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		now := l.now
		l.mu.Unlock()
		if now == told && time.Since(at) < installLease/3 {
			continue
		}
		if err := l.m.cfg.Records.KeepInstallation(ctx, l.name, now, installLease); err != nil && ctx.Err() == nil {
			l.m.cfg.Log.Warn("another runner may install the same packages", slog.String("packages", l.name), slog.Any("err", err))
			continue
		}
		told, at = now, time.Now()
	}
}

// leave gives up the right.
func (l *lease) leave() {
	if l == nil {
		return
	}
	l.end()
	<-l.kept
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.m.life), leaveTime)
	defer cancel()
	if err := l.m.cfg.Records.LeaveInstallation(ctx, l.name); err != nil {
		l.m.cfg.Log.Warn("other runners wait for an installation that has ended", slog.String("packages", l.name), slog.Any("err", err))
	}
}

// leaveTime bounds a write to the records that a stop of the runner may not prevent.
const leaveTime = 2 * time.Second

// step tells which step has begun.
func (l *lease) step(s job.InstallStep) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.Step = s
}

// has tells how many bytes have come.
func (l *lease) has(size int64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.Bytes = size
}

// counted returns a reader that tells how much of r was read.
func (l *lease) counted(r io.Reader) io.Reader {
	if l == nil {
		return r
	}
	return io.TeeReader(r, counter{l})
}

type counter struct{ l *lease }

func (c counter) Write(p []byte) (int, error) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.now.Bytes += int64(len(p))
	return len(p), nil
}

// hears returns a function that takes the output of the installer as it comes, and tells its last whole line. clean removes what
// callers may not see: a line has a password as a whole, and a piece of output may end in the middle of one.
func (l *lease) hears(clean func(string) string) func([]byte) {
	if l == nil {
		return nil
	}
	return func(output []byte) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.rest = append(l.rest, output...)
		end := bytes.LastIndexByte(l.rest, '\n')
		if end < 0 {
			if len(l.rest) > mostLog {
				l.rest, l.skip = l.rest[:0], true
			}
			return
		}
		for line := range strings.Lines(string(l.rest[:end])) {
			if l.skip {
				l.skip = false
				continue
			}
			line = strings.TrimSpace(clean(strings.ToValidUTF8(line, "\uFFFD")))
			if len(line) > mostLine {
				line = strings.ToValidUTF8(line[:mostLine], "") + "…"
			}
			if line != "" && !strings.HasPrefix(line, "--hash=") && !strings.HasSuffix(line, "\\") { // not the lock file
				l.now.Line = line
			}
		}
		l.rest = append(l.rest[:0], l.rest[end+1:]...)
	}
}
