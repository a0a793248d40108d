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

// forkGroup has the workers of a slot with several: a session's worker, its contexts, its forks, and theirs:
// see fork_group.py. When the last member is closed, the slot is given back and the directories are
// removed.
type forkGroup struct {
	slot *slot
	dirs workdir.Dirs // of the first member, without a mount namespace; those of forks are in it
	// asking is held from a command to the slot until its answer, so that they belong together.
	asking  sync.Mutex
	answers chan process.Message
	gone    chan struct{} // closed once all processes of all members have ended

	// slot.mu guards the fields below.
	members map[int]*Worker    // the living members, by their number
	joining *Worker            // becomes a member with the answer
	held    bool               // the slot goes on without members; guarded by asking
	open    int                // the number of members that are not closed
	made    []string           // work directories of forks that are file systems
	end     *process.WorkerEnd // of the last member; nil if the slot has ended with it
}

// rootMember is the number of the first worker. The number of another is its pid in the sandbox.
const rootMember = 0

// copyPrefix begins the names of the work directories of forks, below /tmp.
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
	w.asking.Lock() // an answer to the worker is not for the group
	defer w.asking.Unlock()
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
	w.forks = f
	s.worker, s.forks = nil, f
	s.mu.Unlock()
	pid, err := f.adopt(rootMember)
	if err != nil {
		return nil, err
	}
	w.countApart(pid)
	return f, nil
}

// adopt makes the slot take a process as a member and returns the process's pid in this process's
// pid namespace.
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

// ask sends the slot a command and returns its answer. It kills a slot that does not answer.
func (f *forkGroup) ask(command string, fds ...int) (process.Message, error) {
	f.asking.Lock()
	defer f.asking.Unlock()
	return f.askLocked(command, fds...)
}

func (f *forkGroup) askLocked(command string, fds ...int) (process.Message, error) {
	if err := f.slot.link.Write([]byte(command), fds...); err != nil {
		return process.Message{}, err
	}
	select {
	case m := <-f.answers:
		return m, m.Failure()
	case <-f.gone:
		return process.Message{}, ErrClosed
	case <-time.After(slotAnswerTimeout):
		f.slot.kill()
		return process.Message{}, os.ErrDeadlineExceeded
	}
}

// receive handles a message from the slot. The caller holds slot.mu.
func (f *forkGroup) receive(m process.Message) {
	switch {
	case m.Type == "dir":
		f.slot.answerDir(m, m.File)
	case m.End == nil:
		if w := f.joining; m.Type == "joined" && w != nil {
			// At once: the report of its end may be the next message.
			w.member, f.members[m.PID], f.joining = m.PID, w, nil
		}
		select {
		case f.answers <- m:
		default: // no call waits for the answer
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

// over records that all members have ended; end is nil if the slot has ended with them. The caller
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

// place returns the path of a work directory as the code sees it. The name "" is the sandbox's own
// work directory.
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
		return f.slot.openWork(strings.TrimSpace("D " + w.dirName))
	}
	fd, err := unix.Open(f.place(w.dirName), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "work"), nil
}

// makeDir makes a work directory for a fork. Without a mount namespace the fork makes it itself,
// and it is removed with the fork group.
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

// copyDirs returns the paths of the slot's file systems for forks.
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

// removeDir undoes makeDir. The directory must be out of use.
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

// join makes a worker of a process that the slot has adopted, with the runner's ends of its
// channels.
func (f *forkGroup) join(st *stock, id, name string, member, pid int, chans *process.Channels) (*Worker, error) {
	w := f.newMember(st, id, name, chans)
	w.member = member
	w.pid.Store(int64(pid))
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

// newMember returns a worker that is to be a member, with the runner's ends of its channels.
func (f *forkGroup) newMember(st *stock, id, name string, chans *process.Channels) *Worker {
	return &Worker{
		id: id, stock: st, pool: st.pool, slot: f.slot, oomKills: f.slot.group.OOMKills(), oomHits: f.slot.group.LimitHits(), used: true,
		exited: make(chan struct{}), answers: make(chan process.Message, 1), closing: make(chan struct{}),
		stdin: chans.Stdin, stdout: chans.Stdout, stderr: chans.Stderr, control: chans.Control, frames: protocol.NewReader(chans.Control),
		forks: f, dirName: name,
	}
}

// endMember kills a member and its descendants, but no other members.
func (f *forkGroup) endMember(w *Worker) {
	w.kill()
	if !w.exitsWithin(memberKillTimeout) {
		f.log().Warn("interpreter: slot does not answer", slog.String("session_id", w.id))
		f.slot.end()
	}
}

// leave releases the resources of a member that has ended. With the last member it gives back the
// slot.
func (f *forkGroup) leave(w *Worker) error {
	switch {
	case f.count(-1) == 0:
		return f.giveBack(w.stock)
	case !w.guest:
		f.removeDir(w.dirName)
	}
	return nil
}

// count adds to the number of open members and returns it.
func (f *forkGroup) count(n int) int {
	f.slot.mu.Lock()
	defer f.slot.mu.Unlock()
	f.open += n
	return f.open
}

// giveBack ends what is left in the sandbox, and gives the slot back.
func (f *forkGroup) giveBack(st *stock) error {
	f.letGo()
	if f.dirs.Top != "" && !f.goneWithin(normalExit) {
		f.slot.group.KillOthers(f.slot.pid, slotKillTimeout)
	}
	if !f.goneWithin(slotKillTimeout) {
		f.slot.end()
	}
	if f.dirs.Top != "" {
		if err := process.Sweep(lastResort); err != nil {
			f.log().Error("interpreter: sweep", slog.Any("err", err))
			st.pool.wg.Go(st.pool.sweepOn)
		}
	}
	err := f.dirs.Remove()
	st.giveBack(f.slot, f.end)
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

// cpuMicros returns the processor time of a worker; only its changes have a meaning. For a member of a
// fork group, and beside commands, it does not ask the control group, which counts the time of all
// together.
func (w *Worker) cpuMicros() int64 {
	pid := int(w.pid.Load())
	if pid == 0 {
		return w.cpuOf(pid)
	}
	return w.cpuOf(pid) + w.before.Load()
}

// countApart makes cpuMicros count the worker's own process from now on. Until then the time of its
// slot is its own. An execution that runs meanwhile keeps the time that was counted for it.
func (w *Worker) countApart(pid int) {
	w.before.Store(w.cpuOf(0) - w.cpuOf(pid))
	w.pid.Store(int64(pid))
}

func (w *Worker) cpuOf(pid int) int64 {
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
