package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/capture"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/workdir"
)

const (
	// memberKillTimeout is the time limit for a slot to end one of several workers. It finds and stops
	// all processes of that worker first. After it all of the slot's workers are lost.
	memberKillTimeout = killTime
	// lastResort bounds waits that end unless the kernel fails to end a process.
	lastResort = time.Second
	// killTime is the time limit for the kernel to end a killed process. Freeing much memory takes
	// time.
	killTime = 10 * lastResort
	// slotAnswerTimeout is the time limit for the answer to a command after which the worker is to go on. A
	// slot answers at once, but waits for a processor on a machine that is overloaded. After the limit
	// the worker and its session are lost.
	slotAnswerTimeout = killTime
	// slotKillTimeout is the time limit for a slot to end its processes before it is killed itself, and
	// its files are lost. A slot that is overloaded needs a while.
	// If the slot is the first process of a pid namespace, the kernel then ends the rest;
	// otherwise the runner does.
	slotKillTimeout = 2 * lastResort
	// normalExit is the time limit for an end that the code does not resist.
	normalExit = 50 * time.Millisecond
	// exitAfterStatus is the time that a worker has to exit after its status before it is killed.
	exitAfterStatus = 5 * time.Millisecond
)

// Worker is one Python process. It serves one Execute, or a Session, and must be closed.
type Worker struct {
	id    string
	stock *stock
	pool  *Pool
	slot  *slot
	dirs  workdir.Dirs // empty with a mount namespace
	// forks, member and dirName are for members of a fork group: the group, the member's number
	// in it and the name of its work directory.
	forks    *forkGroup // guarded by slot.mu
	member   int        // guarded by slot.mu until it has joined
	guest    bool       // the work directory belongs to another member, too
	dirName  string
	place    string       // path of the work directory that its session has chosen; empty for the usual one
	pid      atomic.Int64 // 0 unless its processor time is counted apart from that of its slot
	before   atomic.Int64 // the processor time that is not the process's, but was counted until then
	control  *os.File
	frames   *protocol.Reader
	stdin    *process.Inlet // stdin, stdout and stderr are the runner's ends
	stdout   *os.File
	stderr   *os.File
	oomKills int64 // the slot's OOM kills before the worker
	oomHits  int64 // the times that the slot reached its memory limit before the worker

	exited  chan struct{}        // closed once all its processes have ended
	end     *process.WorkerEnd   // valid after exited; nil if its slot ended with it
	answers chan process.Message // other messages from the slot
	asking  sync.Mutex           // held from a command to the slot until its answer

	journal atomic.Pointer[capture.Journal] // of the last execution

	leaving atomic.Bool // it has sent its status and will exit

	fresh      bool                          // it was not handed out; guarded by stock.mu once it is parked
	rehearsals int                           // rehearsal steps left; guarded by stock.mu once it is parked
	stepping   atomic.Pointer[chan struct{}] // closed at the end of the last rehearsal step; nil if there was none

	// warmed: it has imported modules of its set. warmedFrom and warmedAt are the processor time of its slot before and after that,
	// held is the memory that it holds then. They are written in steps.
	warmed                     bool
	warmedFrom, warmedAt, held int64

	mu        sync.Mutex
	used      bool
	closed    bool
	heir      bool // another worker takes over the slot and the files
	busy      bool // with an execution of a session
	executing sync.WaitGroup
	files     files

	closing   chan struct{} // closed when Close begins
	closeOnce sync.Once
	closeErr  error
}

// newWorker makes a slot fork a worker with new directories.
func (st *stock) newWorker(s *slot) (*Worker, error) {
	command := "W "
	if st.isAwaited() {
		command = "V "
	}
	w, err := st.forkWorker(s, command, st.pool.cfg.Quota, workdir.Dirs{})
	if w != nil {
		w.fresh = true
	}
	return w, err
}

// forkWorker makes a slot fork a worker. Without a mount namespace the worker gets the directories in
// own, or new ones if own is empty.
func (st *stock) forkWorker(s *slot, command string, q job.Quota, own workdir.Dirs) (*Worker, error) {
	p := st.pool
	id, err := uuid.NewV7()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make session id: %w", err), own.Remove())
	}
	if command != "X " { // only X keeps the files of the worker before
		s.put.Store(0)
		s.diskAt, s.elsewhere = time.Time{}, false // no call of InFiles is under way
	}
	if err := s.group.Limit(s.limited(q)); err != nil {
		return nil, errors.Join(err, own.Remove())
	}
	w := &Worker{
		dirs: own, id: id.String(), stock: st, pool: p, slot: s, oomKills: s.group.OOMKills(), oomHits: s.group.LimitHits(),
		exited: make(chan struct{}), answers: make(chan process.Message, 1), closing: make(chan struct{}),
	}
	work, tmp := "/work", "/tmp"
	if p.cfg.Sandbox != sandbox.Strict {
		if own.Top == "" {
			w.dirs, err = workdir.MakeDirs(p.dir.Path, w.id, s.owner)
		}
		if err != nil {
			return nil, process.BlameDisk(err)
		}
		work, tmp = w.dirs.Work, w.dirs.Tmp
	}
	chans, err := process.OpenChannels(p.owners.HostID(s.owner))
	if err != nil {
		return nil, errors.Join(err, w.dirs.Remove())
	}
	s.setWorker(w)
	err = s.link.Write([]byte(command+work+"\x00"+tmp), chans.Theirs...)
	chans.CloseTheirs()
	w.stdin, w.stdout, w.stderr, w.control = chans.Stdin, chans.Stdout, chans.Stderr, chans.Control
	if err != nil {
		w.closeFiles()
		return nil, errors.Join(fmt.Errorf("fork worker: %w", err), w.dirs.Remove())
	}
	w.frames = protocol.NewReader(w.control)
	return w, nil
}

// rlimits returns the limits of q that the kernel enforces for each process.
func (p *Pool) rlimits(q job.Quota) map[string]int64 {
	limits := map[string]int64{"processes": int64(q.Processes), "openFiles": int64(q.OpenFiles), "fileBytes": q.FileBytes}
	if p.cfg.Sandbox != sandbox.Strict {
		// Without a user namespace the kernel counts all processes of the user.
		limits["processes"] += int64(p.others) + int64(p.cfg.MaxQuota.Processes*p.cfg.Size)
	}
	if q.CPUTime > 0 {
		limits["cpuSeconds"] = kernelLimit(q.CPUTime)
	}
	return limits
}

// awaitReady waits for the worker's first frame. If it does not come, the error quotes Python's
// output.
func (w *Worker) awaitReady(ctx context.Context, limit time.Duration) error {
	if err := w.control.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("await worker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetReadDeadline(time.Unix(1, 0)) })
	f, err := w.frames.Next()
	stop()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("await worker: %w", ErrClosed)
	case err != nil:
		return fmt.Errorf("await worker: %w", w.whyNot(err))
	case f.Type == protocol.Failed:
		return fmt.Errorf("await worker: %w", process.Message{Type: "failed", Layer: f.Layer, Error: f.Error}.Failure())
	case f.Type != protocol.Ready:
		return fmt.Errorf("await worker: %w: %s instead of ready", protocol.ErrFrame, f.Type)
	}
	w.rehearsals = f.Rehearsals
	return w.control.SetReadDeadline(time.Time{})
}

// whyNot finds out why a worker did not become ready, from its slot or from its stderr.
func (w *Worker) whyNot(err error) error {
	w.endProcesses()
	select {
	case m := <-w.answers:
		if failure := m.Failure(); failure != nil {
			return failure
		}
	default:
	}
	_ = w.stderr.SetReadDeadline(time.Now().Add(lastResort))
	out, _ := io.ReadAll(io.LimitReader(w.stderr, 64<<10))
	return fmt.Errorf("%w%s", err, process.QuoteOutput(out))
}

// SessionID returns the id of the interpreter.
func (w *Worker) SessionID() string { return w.id }

// alive reports whether the worker is not known to have ended.
func (w *Worker) alive() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// over records that a worker without forks has ended; end is nil if its slot has ended with it.
func (w *Worker) over(end *process.WorkerEnd) {
	w.end = end
	close(w.exited)
	w.stock.ended(w)
}

// interrupt sends SIGINT to the code's process group, as a terminal does.
func (w *Worker) interrupt() { w.sendSlot("I") }

// kill ends everything in the sandbox. It does not wait.
func (w *Worker) kill() { w.sendSlot("K") }

// sendSlot sends the slot a command for this worker. It does nothing if the worker has ended, because
// the slot may have another worker by then.
func (w *Worker) sendSlot(command string, fds ...int) {
	w.slot.mu.Lock()
	defer w.slot.mu.Unlock()
	switch f := w.slot.forks; {
	case w.slot.worker == w:
		_ = w.slot.link.Write([]byte(command), fds...)
	case f != nil && f.members[w.member] == w:
		_ = w.slot.link.Write([]byte(command + " " + strconv.Itoa(w.member)))
	}
}

// endProcesses kills the worker and its descendants. When it returns, all of them have ended.
func (w *Worker) endProcesses() {
	if f := w.forkGroup(); f != nil {
		f.endMember(w)
		return
	}
	w.kill()
	if w.pool.cfg.Sandbox != sandbox.Strict && !w.exitsWithin(normalExit) {
		// The processes may multiply faster than the slot finds them, so the runner kills
		// all others in the control group. Without a control group this does nothing.
		w.slot.group.KillOthers(w.slot.pid, slotKillTimeout)
	}
	select {
	case <-w.exited:
	case <-time.After(slotKillTimeout):
		w.pool.cfg.Log.Warn("interpreter: slot does not answer", slog.String("session_id", w.id))
		w.slot.end()
	}
	if w.pool.cfg.Sandbox == sandbox.Strict {
		return // the kernel has ended all processes of the pid namespace
	}
	if err := process.Sweep(lastResort); err != nil {
		w.pool.cfg.Log.Error("interpreter: processes that a worker left are not all gone: will try again", slog.String("session_id", w.id), slog.Any("err", err))
		w.pool.wg.Go(w.pool.sweepOn)
	}
}

// exitsWithin waits for the end of the worker and its descendants, and reports whether it came in
// time.
func (w *Worker) exitsWithin(limit time.Duration) bool {
	select {
	case <-w.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// sweepOn repeats the sweep until no process of an execution is left.
func (p *Pool) sweepOn() {
	for range 60 {
		if process.Sweep(lastResort) == nil {
			return
		}
	}
}

// isClosing reports whether Close has begun.
func (w *Worker) isClosing() bool {
	select {
	case <-w.closing:
		return true
	default:
		return false
	}
}

// Close kills the worker's remaining processes and removes its directory. A concurrent Execute
// returns. Further calls wait for the first one and do nothing.
func (w *Worker) Close() error {
	w.closeOnce.Do(func() {
		w.mu.Lock()
		w.closed = true
		close(w.closing)
		w.mu.Unlock()

		if w.leaving.Load() {
			w.exitsWithin(exitAfterStatus) // usually it exits in time and need not be killed
		}
		w.endProcesses()
		w.executing.Wait() // an execution reads from the pipes
		// So does a step, and it may still be ending the processes.
		_ = w.awaitStep(context.Background())
		w.closeFiles()
		w.keepJournal(nil)
		w.files.close()
		if err := w.leave(); err != nil {
			w.closeErr = fmt.Errorf("close worker %s: %w", w.id, err)
		}
		w.pool.forget(w)
	})
	return w.closeErr
}

// leave removes the directory and gives the slot back to the stock.
func (w *Worker) leave() error {
	if f := w.forkGroup(); f != nil {
		return f.leave(w)
	}
	if w.heir { // set before Close
		return nil
	}
	err := w.dirs.Remove()
	w.stock.giveBack(w.slot, w.end)
	return err
}

// begin begins the worker's only execution.
func (w *Worker) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return fmt.Errorf("execute on %s: %w", w.id, ErrClosed)
	case w.used:
		return fmt.Errorf("execute on %s: %w", w.id, ErrUsed)
	}
	w.used = true
	w.executing.Add(1)
	return nil
}

func (w *Worker) closeFiles() {
	for _, f := range []io.Closer{w.control, w.stdin, w.stdout, w.stderr} {
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			w.pool.cfg.Log.Warn("interpreter: a worker was not closed as it should", slog.String("session_id", w.id), slog.Any("err", err))
		}
	}
}

// newJournal makes the journal of an execution.
func (w *Worker) newJournal(quota job.Quota) *capture.Journal {
	j := capture.NewJournal(quota, w.pool.room)
	w.keepJournal(j)
	return j
}

// keepJournal stores the journal of an execution and releases the one before.
func (w *Worker) keepJournal(j *capture.Journal) {
	if before := w.journal.Swap(j); before != nil {
		before.Release()
	}
}
