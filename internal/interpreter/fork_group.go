package interpreter

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
	"github.com/kaa-run/kaa/internal/workdir"
)

// forkGroup are the workers of one slot that has several: a session's worker, its copies, and
// theirs: see fork_group.py. The slot is given back, and the directories go, when the last of
// them is closed.
type forkGroup struct {
	slot *slot
	dirs workdir.Dirs // of the first of them, where there is no mount namespace; those of copies are in it
	// asking is held for a question to the slot, so that answers belong to it.
	asking  sync.Mutex
	answers chan process.Message
	gone    chan struct{} // closed once nothing is left of any of them

	// What follows is guarded by slot.mu.
	members map[int]*Worker    // that live, by their number in the fork group
	open    int                // that are not closed
	made    []string           // work directories of copies that are file systems
	end     *process.WorkerEnd // of the last of them; nil if the slot has ended with them
}

// rootMember is the number of the worker that the slot forked; those of copies are their
// pids in the sandbox.
const rootMember = 0

// copyPrefix begins the names of the work directories of copies, below /tmp.
const copyPrefix = "work-"

// copyNames returns names of directories that the code cannot have guessed.
func copyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		var random [8]byte
		_, _ = rand.Read(random[:]) // it never fails
		names[i] = copyPrefix + hex.EncodeToString(random[:])
	}
	return names
}

// forkGroup returns the fork group of a worker, nil while it is alone in its slot.
func (w *Worker) forkGroup() *forkGroup {
	w.slot.mu.Lock()
	defer w.slot.mu.Unlock()
	return w.forks
}

// beginForkGroup makes a worker the first of a fork group, unless it has one.
func (w *Worker) beginForkGroup() (*forkGroup, error) {
	s := w.slot
	s.mu.Lock()
	if w.forks != nil || s.worker != w {
		defer s.mu.Unlock()
		if w.forks == nil {
			return nil, fmt.Errorf("begin forks: %w", ErrClosed)
		}
		return w.forks, nil
	}
	f := &forkGroup{
		slot: s, dirs: w.dirs, answers: make(chan process.Message, 1), gone: make(chan struct{}),
		members: map[int]*Worker{rootMember: w}, open: 1,
	}
	w.forks, w.dirs, w.member = f, workdir.Dirs{}, rootMember
	s.worker, s.forks = nil, f
	s.mu.Unlock()
	pid, err := f.adopt(rootMember)
	if err != nil {
		return nil, err
	}
	w.pid.Store(int64(pid))
	return f, nil
}

// adopt has the slot take a process for a member and returns the number by which this
// process knows it.
func (f *forkGroup) adopt(member int) (int, error) {
	m, err := f.ask("A " + strconv.Itoa(member))
	if err != nil {
		return 0, fmt.Errorf("adopt copy: %w", err)
	}
	if m.File == nil {
		return 0, errors.New("adopt copy: no process came with the answer")
	}
	defer m.File.Close()
	pid, err := process.PIDOf(m.File)
	if err != nil {
		return 0, fmt.Errorf("adopt copy: %w", err)
	}
	return pid, nil
}

// ask sends the slot a command and returns its answer. A slot that gives none is ended.
func (f *forkGroup) ask(command string) (process.Message, error) {
	f.asking.Lock()
	defer f.asking.Unlock()
	if err := f.slot.link.Write([]byte(command)); err != nil {
		return process.Message{}, err
	}
	select {
	case m := <-f.answers:
		return m, m.Failure()
	case <-f.gone:
		return process.Message{}, ErrClosed
	case <-time.After(obeyTime * 4):
		f.slot.kill()
		return process.Message{}, os.ErrDeadlineExceeded
	}
}

// hear takes what the slot says. The caller holds slot.mu.
func (f *forkGroup) hear(m process.Message) {
	switch {
	case m.Type == "dir":
		f.slot.answerDir(m, m.File)
	case m.End == nil:
		select {
		case f.answers <- m:
		default: // nobody asked
			if m.File != nil {
				_ = m.File.Close()
			}
		}
	case m.End.Member >= 0:
		if w := f.members[m.End.Member]; w != nil {
			delete(f.members, m.End.Member)
			w.end = m.End
			close(w.exited)
		}
	default:
		f.over(m.End)
	}
}

// over notes that nothing is left; end is nil if the slot has ended with it. The caller
// holds slot.mu.
func (f *forkGroup) over(end *process.WorkerEnd) {
	for member, w := range f.members {
		delete(f.members, member)
		w.end = end
		close(w.exited)
	}
	f.slot.forks, f.end = nil, end
	close(f.gone)
}

// place is the path of a work directory as the code sees it; "" is the one that the sandbox
// came with.
func (f *forkGroup) place(name string) string {
	work, tmp := "/work", "/tmp"
	if f.dirs.Top != "" {
		work, tmp = f.dirs.Work, f.dirs.Tmp
	}
	if name == "" {
		return work
	}
	return filepath.Join(tmp, name)
}

// openWork opens the work directory of a member.
func (f *forkGroup) openWork(w *Worker) (*os.File, error) {
	if f.dirs.Top == "" {
		return f.slot.openWork(strings.TrimSpace("D "+w.dirName), lastResort)
	}
	fd, err := unix.Open(f.place(w.dirName), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "work"), nil
}

// makeDir makes a work directory of a copy. Where there is no mount namespace the copy does
// that itself, and it is removed with the fork group.
func (f *forkGroup) makeDir(name string, size int64) error {
	if name == "" || f.dirs.Top != "" {
		return nil
	}
	if _, err := f.ask("N " + name + " " + strconv.FormatInt(size, 10)); err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	f.slot.mu.Lock()
	defer f.slot.mu.Unlock()
	f.made = append(f.made, name)
	return nil
}

// copyDirs are the file systems that the slot has for copies.
func (s *slot) copyDirs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forks == nil {
		return nil
	}
	var dirs []string
	for _, name := range s.forks.made {
		dirs = append(dirs, s.forks.place(name))
	}
	return dirs
}

// removeDir undoes makeDir. Nobody uses it any more.
func (f *forkGroup) removeDir(name string) {
	if name == "" || f.dirs.Top != "" {
		return
	}
	if _, err := f.ask("U " + name); err != nil && !errors.Is(err, ErrClosed) {
		f.log().Warn("interpreter: remove work directory", slog.Any("err", err))
	}
	f.slot.mu.Lock()
	defer f.slot.mu.Unlock()
	f.made = slices.DeleteFunc(f.made, func(other string) bool { return other == name })
}

func (f *forkGroup) log() *slog.Logger { return f.slot.pool.cfg.Log }

// join makes the process that the slot has adopted a worker, with our ends of its channels.
func (f *forkGroup) join(st *stock, id, name string, member, pid int, chans *process.Channels) (*Worker, error) {
	w := &Worker{
		id: id, stock: st, pool: st.pool, slot: f.slot, oomKills: f.slot.group.OOMKills(), oomHits: f.slot.group.LimitHits(), used: true,
		exited: make(chan struct{}), answers: make(chan process.Message, 1), closing: make(chan struct{}),
		stdin: chans.Stdin, stdout: chans.Stdout, stderr: chans.Stderr, control: chans.Control,
		forks: f, member: member, dirName: name,
	}
	w.pid.Store(int64(pid))
	w.frames = protocol.NewReader(w.control)
	f.slot.mu.Lock()
	f.open++
	if f.slot.forks == f {
		f.members[member] = w
	} else {
		close(w.exited)
	}
	f.slot.mu.Unlock()
	if !st.pool.track(w) {
		return nil, errors.Join(ErrClosed, w.Close())
	}
	return w, nil
}

// endMember kills a member and what descends from it; the others live on.
func (f *forkGroup) endMember(w *Worker) {
	w.kill()
	if !w.exitsWithin(obeyTime) {
		f.log().Warn("interpreter: slot does not answer", slog.String("session_id", w.id))
		f.slot.kill()
		<-w.exited
	}
}

// leave gives up what belongs to a member that has ended; with the last of them, the slot.
func (f *forkGroup) leave(w *Worker) error {
	f.slot.mu.Lock()
	f.open--
	last := f.open == 0
	f.slot.mu.Unlock()
	if !last {
		f.removeDir(w.dirName)
		return nil
	}
	if f.dirs.Top != "" && !f.goneWithin(easyTime) {
		f.slot.group.KillOthers(f.slot.pid, obeyTime)
	}
	if !f.goneWithin(obeyTime) {
		f.slot.kill()
		<-f.gone
	}
	if f.dirs.Top != "" {
		if err := process.Sweep(lastResort); err != nil {
			f.log().Error("interpreter: sweep", slog.Any("err", err))
			w.pool.wg.Go(w.pool.sweepOn)
		}
	}
	err := f.dirs.Remove()
	w.stock.giveBack(f.slot, f.end)
	return err
}

func (f *forkGroup) goneWithin(limit time.Duration) bool {
	select {
	case <-f.gone:
		return true
	case <-time.After(limit):
		return false
	}
}

// cpuMicros is the processor time that a member of a fork group has used: the control group
// counts that of all of them together.
func (w *Worker) cpuMicros() int64 {
	pid := int(w.pid.Load())
	if pid == 0 {
		if w.slot.group != nil {
			return w.slot.group.CPUMicros()
		}
		return process.CPUOfChildren(w.slot.pid)
	}
	if !w.alive() && w.end != nil {
		return w.end.CPUMicros
	}
	var ts unix.Timespec
	clock := int32(^pid<<3 | 2) //nolint:gosec // the kernel's number for the clock of a process
	if unix.ClockGettime(clock, &ts) != nil {
		return 0
	}
	return ts.Nano()/1000 + process.CPUOfChildren(pid)
}
