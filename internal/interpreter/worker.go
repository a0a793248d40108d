package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
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
	// lastResort bounds the wait for things that cannot fail to happen unless the
	// kernel refuses to end a process.
	lastResort = time.Second
	// obeyTime is how long a slot may take to end everything before it is ended itself.
	// Where it is the first process of a pid namespace the kernel then ends the rest;
	// elsewhere this process does.
	obeyTime = 500 * time.Millisecond
	// easyTime is what it takes if the code does not resist.
	easyTime = 50 * time.Millisecond
	// leaveTime is what a worker may take to end by itself when it has said all.
	leaveTime = 5 * time.Millisecond
)

// Worker is one Python process. It serves one Execute, or a Session, and must be closed.
type Worker struct {
	id    string
	stock *stock
	pool  *Pool
	slot  *slot
	dirs  workdir.Dirs // where there is no mount namespace
	// In a forks: which one, its number there and the name of its work directory.
	forks    *forkGroup // guarded by slot.mu
	member   int
	dirName  string
	pid      atomic.Int64 // 0 while it is alone
	control  *os.File
	frames   *protocol.Reader
	stdin    *process.Inlet // our ends of the code's descriptors
	stdout   *os.File
	stderr   *os.File
	oomKills int64 // of its slot, before it
	oomHits  int64 // the same of its memory limit

	exited  chan struct{}        // closed once nothing is left of it
	end     *process.WorkerEnd   // valid after exited; nil if its slot ended with it
	answers chan process.Message // the slot's other words

	journal atomic.Pointer[capture.Journal] // of the last execution

	leaving atomic.Bool // it has said its last word

	rehearsals int        // steps that it may rehearse; guarded by stock.mu once it is parked
	rehearsing sync.Mutex // held while it takes one

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

// newWorker has a slot fork a worker, with directories of its own.
func (st *stock) newWorker(s *slot) (*Worker, error) {
	command := "W "
	if st.isAwaited() {
		command = "V "
	}
	return st.forkWorker(s, command, st.pool.cfg.Quota, workdir.Dirs{})
}

// forkWorker has a slot fork a worker. Where there is no mount namespace it gets the
// directories in own, or new ones if there are none in it.
func (st *stock) forkWorker(s *slot, command string, q job.Quota, own workdir.Dirs) (*Worker, error) {
	p := st.pool
	id, err := uuid.NewV7()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make session id: %w", err), own.Remove())
	}
	if command != "X " { // which alone finds files there
		s.put.Store(0)
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
	s.lend(w)
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

// rlimits are the limits of q that the kernel keeps for each process.
func (p *Pool) rlimits(q job.Quota) map[string]int64 {
	limits := map[string]int64{"processes": int64(q.Processes), "openFiles": int64(q.OpenFiles), "fileBytes": q.FileBytes}
	if p.cfg.Sandbox != sandbox.Strict {
		// The kernel counts all processes of the user there.
		limits["processes"] += int64(p.others) + int64(p.cfg.MaxQuota.Processes*p.cfg.Size)
	}
	if q.CPUTime > 0 {
		limits["cpuSeconds"] = int64(math.Ceil(q.CPUTime.Seconds()))
	}
	return limits
}

// awaitReady waits for the worker's first frame. If it does not come, the error
// has what Python said instead.
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

// whyNot finds out why a worker did not become ready: from its slot, or from what it
// wrote to stderr.
func (w *Worker) whyNot(err error) error {
	w.kill()
	<-w.exited
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

// SessionID names the interpreter.
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

// over notes that nothing is left of a worker that was alone; end is nil if its slot has
// ended with it.
func (w *Worker) over(end *process.WorkerEnd) {
	w.end = end
	close(w.exited)
	w.stock.ended(w)
}

// interrupt sends SIGINT to the code's process group, as a terminal does.
func (w *Worker) interrupt() { w.tell("I") }

// kill ends everything in the sandbox. It does not wait.
func (w *Worker) kill() { w.tell("K") }

// tell has the slot do something to this worker, unless it has ended: the slot may
// have another one by then.
func (w *Worker) tell(command string) {
	w.slot.mu.Lock()
	defer w.slot.mu.Unlock()
	switch f := w.slot.forks; {
	case w.slot.worker == w:
		_ = w.slot.link.Write([]byte(command))
	case f != nil && f.members[w.member] == w:
		_ = w.slot.link.Write([]byte(command + " " + strconv.Itoa(w.member)))
	}
}

// endProcesses kills the worker and then everything that descends from it. When it
// returns, nothing of that is left.
func (w *Worker) endProcesses() {
	if f := w.forkGroup(); f != nil {
		f.endMember(w)
		return
	}
	w.kill()
	if w.pool.cfg.Sandbox != sandbox.Strict && !w.exitsWithin(easyTime) {
		// They multiply faster than they are found. Not where they may not.
		w.slot.group.KillOthers(w.slot.pid, obeyTime)
	}
	select {
	case <-w.exited:
	case <-time.After(obeyTime):
		w.pool.cfg.Log.Warn("interpreter: slot does not answer", slog.String("session_id", w.id))
		w.slot.kill()
		<-w.exited
	}
	if w.pool.cfg.Sandbox == sandbox.Strict {
		return // the kernel has seen to it
	}
	if err := process.Sweep(lastResort); err != nil {
		w.pool.cfg.Log.Error("interpreter: processes that a worker left are not all gone: will try again", slog.String("session_id", w.id), slog.Any("err", err))
		w.pool.wg.Go(w.pool.sweepOn)
	}
}

// exitsWithin waits for the end of the worker and of all it has left.
func (w *Worker) exitsWithin(limit time.Duration) bool {
	select {
	case <-w.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// sweepOn goes on until nothing is left of what an execution started.
func (p *Pool) sweepOn() {
	for range 60 {
		if process.Sweep(lastResort) == nil {
			return
		}
	}
}

// Close kills at once whatever is left of the worker and removes its directory.
// It makes a concurrent Execute return. It is idempotent, and returns when all is
// done.
func (w *Worker) Close() error {
	w.closeOnce.Do(func() {
		w.mu.Lock()
		w.closed = true
		close(w.closing)
		w.mu.Unlock()

		if w.leaving.Load() {
			w.exitsWithin(leaveTime) // as a rule it does, and need not be told to
		}
		w.endProcesses()
		w.executing.Wait() // it reads from our ends of the pipes
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

// leave removes the directory and gives the slot back for another worker, if this one's
// end was in order.
func (w *Worker) leave() error {
	if f := w.forkGroup(); f != nil {
		return f.leave(w)
	}
	if w.heir { // set before Close began
		return nil
	}
	err := w.dirs.Remove()
	w.stock.giveBack(w.slot, w.end)
	return err
}

// begin takes the one execution.
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

// keepJournal releases the journal of the execution before.
func (w *Worker) keepJournal(j *capture.Journal) {
	if before := w.journal.Swap(j); before != nil {
		before.Release()
	}
}
