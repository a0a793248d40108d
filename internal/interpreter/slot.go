package interpreter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// slot is the runner's view of a slot process and of its control group: see zygote.py. It has at
// most one worker or one fork group at a time.
type slot struct {
	pool   *Pool
	zygote *zygote
	link   process.Link
	pidfd  *os.File
	pid    int
	group  *sandbox.Group
	owner  int
	put    atomic.Int64 // bytes of files that the runner has put into it
	// charging is held while a file is put and counted, opening from a D to its answer: several
	// sessions and contexts can share the slot.
	charging, opening sync.Mutex

	// charging guards these.
	reserved  int64     // bytes of put for files that are being written
	elsewhere bool      // files may have been put outside of the working directory
	disk      int64     // where the files are on the disk: their bytes at diskAt, and those that came since
	diskAt    time.Time // long ago at first

	mu     sync.Mutex
	worker *Worker        // the current worker, if it has no forks
	forks  *forkGroup     // or the current fork group
	proxy  Proxy          // nil if its workers have no network
	dirs   chan openedDir // answers to the command D; has room for one
	gone   chan struct{}  // closed once the process has ended
}

type slotRequest struct {
	Cmd   string `json:"cmd"`
	Owner int    `json:"owner"`
}

// newSlot makes z fork a slot.
func (p *Pool) newSlot(ctx context.Context, z *zygote) (_ *slot, err error) {
	group, err := p.groups.New()
	if err != nil {
		return nil, err
	}
	link, theirs, err := process.NewLink("slot")
	if err != nil {
		return nil, errors.Join(err, group.Remove())
	}
	s := &slot{pool: p, zygote: z, link: link, group: group, owner: p.owners.Take(), gone: make(chan struct{}), dirs: make(chan openedDir, 1)}
	s.pidfd, err = z.fork(ctx, p.cfg.StartTimeout, slotRequest{"slot", s.owner}, theirs)
	_ = theirs.Close()
	if err == nil {
		s.pid, err = process.PIDOf(s.pidfd)
	}
	if err != nil {
		err = s.reasonOf(ctx, err)
	}
	if err == nil {
		err = s.awaitReady(ctx, p.cfg.StartTimeout)
	}
	if err == nil {
		// The slot moves before its first worker exists. Moving a process is slow, but a
		// process forked in the group need not be moved.
		err = group.Add(s.pid)
	}
	if err == nil {
		// After that the slot can hide the group's name from its workers.
		err = link.Write([]byte("G"))
	}
	if err == nil {
		err = s.awaitReady(ctx, p.cfg.StartTimeout)
	}
	if err != nil {
		close(s.gone)
		p.closeSlot(s)
		return nil, fmt.Errorf("start slot: %w", err)
	}
	go s.listen()
	return s, nil
}

// reasonOf returns why a slot was not found. A slot that fails at once can end before the zygote, or
// the runner, has looked at it: its message has the reason then.
func (s *slot) reasonOf(ctx context.Context, err error) error {
	if m, _, readErr := s.link.ReceiveWithin(ctx, killTime); readErr == nil && m.Failure() != nil {
		return m.Failure()
	}
	return err
}

func (s *slot) awaitReady(ctx context.Context, limit time.Duration) error {
	m, _, err := s.link.ReceiveWithin(ctx, limit)
	if err == nil {
		err = m.Failure()
	}
	return err
}

// listen passes messages from the slot on to its worker, until the slot ends. All its workers end
// with it.
func (s *slot) listen() {
	defer close(s.gone)
	for {
		m, file, err := s.link.Receive()
		m.File = file
		s.mu.Lock()
		w, f := s.worker, s.forks
		if err != nil || m.End != nil {
			s.worker = nil
		}
		if f != nil && err == nil {
			f.receive(m)
			s.mu.Unlock()
			continue
		}
		s.mu.Unlock()
		switch {
		case err != nil:
			// The slot was killed, or its socket was closed, or it sent what is no message.
			// If it is the first process of a pid namespace, the kernel ends the other
			// processes in it.
			s.kill()
			process.Ended(s.pidfd, killTime)
			if w != nil {
				w.over(nil)
			}
			s.endForkGroup()
			return
		case m.Type == "dir":
			s.answerDir(m, file)
		case w == nil:
		case m.End != nil:
			w.over(m.End)
		default:
			select {
			case w.answers <- m:
			default: // no call waits for the answer
				if file != nil {
					_ = file.Close()
				}
			}
		}
	}
}

// endForkGroup records that the slot's fork group, if it has one, has ended with the slot.
func (s *slot) endForkGroup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forks != nil {
		s.forks.over(nil)
	}
}

// setWorker makes w the slot's worker, which the slot forks next.
func (s *slot) setWorker(w *Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker = w
}

// running reports whether the slot's process has not ended.
func (s *slot) running() bool {
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// kill kills the process. In a pid namespace that ends all other processes in it.
func (s *slot) kill() {
	_ = unix.PidfdSendSignal(int(s.pidfd.Fd()), unix.SIGKILL, nil, 0)
}

// end kills the process and returns once listen has seen that, so that its workers are over.
func (s *slot) end() {
	s.kill()
	select {
	case <-s.gone:
	case <-time.After(lastResort):
		// Another process may hold the other end of the link. Or the kernel does not end this
		// one, and then the link would not end either.
		s.link.Close()
		<-s.gone
	}
}

// closeSlot ends the slot's process and releases its resources. Its worker, if it has one, must have
// ended.
func (p *Pool) closeSlot(s *slot) {
	if s.pidfd != nil {
		s.kill()
		if !process.Ended(s.pidfd, lastResort) {
			p.cfg.Log.Error("interpreter: slot survives SIGKILL", slog.Int("pid", s.pid))
		}
	}
	s.link.Close()
	<-s.gone
	s.closeProxy()
	if s.pidfd != nil {
		_ = s.pidfd.Close()
		s.zygote.alive.Done()
	}
	process.ReapAdopted()
	if err := s.group.Remove(); err != nil {
		p.cfg.Log.Warn("interpreter: a control group was not removed", slog.Any("err", err))
	}
	p.owners.GiveBack(s.owner)
}
