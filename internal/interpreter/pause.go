package interpreter

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
)

const (
	// stopTime is the time limit for the kernel to stop the processes of a sandbox.
	stopTime = killTime
	// pausedLook is the period in which the runner looks whether the processes are still stopped, and pausedAgain the time
	// after which one that is not is looked at again.
	pausedLook  = time.Second
	pausedAgain = 100 * time.Millisecond
	// pausedCPU is the processor time, in microseconds, that a sandbox may use from one look to the next. The slot uses some.
	pausedCPU = 100_000
)

// pausing is the pause of a session: no process of its sandbox runs, except the slot.
//
// The slot stops the processes. In a pid namespace that is one step, and no process is left that could continue another.
// A process can still continue itself: a timer that it has set before may send it SIGCONT. So the runner looks at
// the processes, and ends a session whose code goes on. A control group's freezer would not have this gap, but
// it would stop the slot as well, and version 1 leaves processes that cannot be killed when the runner is.
//
// A session and its contexts have one. The timers of their commands and executions stand still meanwhile: see standstill.
type pausing struct {
	mu      sync.Mutex
	stopped bool
	begun   chan struct{} // closed at the beginning of the next pause, and replaced at its end
	over    chan struct{} // closed at the end of the pause
	ranOn   atomic.Bool   // its code went on

	// answering is held for reading from a request to a process of the sandbox until its answer, and for writing during a pause, in
	// which no process answers.
	answering sync.RWMutex
}

func newPausing() *pausing { return &pausing{begun: make(chan struct{})} }

// begin and end are called with mu held.
func (p *pausing) begin() {
	p.stopped, p.over = true, make(chan struct{})
	close(p.begun)
}

func (p *pausing) end() {
	p.stopped, p.begun = false, make(chan struct{})
	close(p.over)
}

// ask waits for the end of a pause, and lets none begin until the function that it returns is called.
func (p *pausing) ask() (answered func()) {
	if p == nil { // of a single execution
		return func() {}
	}
	p.answering.RLock()
	return p.answering.RUnlock
}

// standstill is what the timers of a command or an execution of a session know about pauses: they stand still during one. The zero value
// is that of a single execution, which is never paused.
type standstill struct {
	p             *pausing
	begins, ends  <-chan struct{} // one is not nil
	timeout       *limitTimer
	grace         *limitTimer
	done, waiting <-chan struct{} // the end of the context, outside and during a pause
}

func (p *pausing) standstill(done <-chan struct{}, limit time.Duration) *standstill {
	s := &standstill{p: p, done: done, timeout: newTimer(limit), grace: newTimer(0)}
	if p != nil {
		p.mu.Lock()
		s.begins = p.begun
		p.mu.Unlock()
	}
	return s
}

// begin stops the timers. The end of the context waits, too, because the processes cannot react to it.
func (s *standstill) begin() {
	s.timeout.halt()
	s.grace.halt()
	s.waiting, s.done = s.done, nil
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.begins, s.ends = nil, s.p.over
}

func (s *standstill) end() {
	s.timeout.goOn()
	s.grace.goOn()
	s.done, s.waiting = s.waiting, nil
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.begins, s.ends = s.p.begun, nil
}

func (s *standstill) stop() {
	s.timeout.halt()
	s.grace.halt()
}

// limitTimer is a timer that can be halted. It never fires for a limit of zero.
type limitTimer struct {
	C     <-chan time.Time
	timer *time.Timer
	ends  time.Time
	left  time.Duration
}

func newTimer(limit time.Duration) *limitTimer {
	if limit <= 0 {
		return &limitTimer{}
	}
	t := &limitTimer{timer: time.NewTimer(limit), ends: time.Now().Add(limit)}
	t.C = t.timer.C
	return t
}

func (t *limitTimer) halt() {
	if t.timer != nil {
		t.timer.Stop()
		t.left = max(time.Until(t.ends), 1)
	}
}

func (t *limitTimer) goOn() {
	if t.timer != nil {
		t.ends = time.Now().Add(t.left)
		t.timer.Reset(t.left)
	}
}

// Pause stops all processes of the session, also those of commands and contexts, until Resume. It returns a
// job.RefusedError if the session shares its sandbox. The session itself executes nothing meanwhile. Close ends the pause.
func (s *Session) Pause() error {
	if !s.w.slot.isAlone(s.w) {
		return &job.RefusedError{Message: "the session shares its sandbox with forks or checkpoints, or is a fork itself, and all of them would stop; a session can be paused that has none"}
	}
	release, err := s.w.hold()
	if err != nil {
		return fmt.Errorf("pause session on %s: %w", s.w.id, err)
	}
	defer release()
	p := s.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil
	}
	p.answering.Lock()
	s.w.sendSlot("F")
	err = s.w.syncSlot()
	if err == nil {
		err = s.awaitStop()
	}
	if err != nil {
		s.w.sendSlot("G")
		p.answering.Unlock()
		return fmt.Errorf("pause session on %s: %w", s.w.id, err)
	}
	p.begin()
	go s.watchPause(p.over)
	return nil
}

// isAlone reports whether all workers of the slot are of one session: w, and its contexts.
func (s *slot) isAlone(w *Worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forks == nil {
		return true
	}
	for _, other := range s.forks.members {
		if other.dirName != w.dirName {
			return false
		}
	}
	return s.forks.joining == nil
}

// Resume lets the processes go on that Pause has stopped.
func (s *Session) Resume() error {
	p := s.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		return nil
	}
	s.w.sendSlot("G")
	p.answering.Unlock()
	p.end()
	if err := s.w.syncSlot(); err != nil {
		return fmt.Errorf("resume session on %s: %w", s.w.id, err)
	}
	return nil
}

// awaitStop waits until no process runs.
func (s *Session) awaitStop() error {
	for deadline := time.Now().Add(stopTime); anyRuns(s.w.slot.pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return &job.RefusedError{Message: "its processes do not stop: a timer of its code continues them, say"}
		}
	}
	return nil
}

// watchPause ends the sandbox of a paused session whose code goes on. It looks at the processes only if their control group
// has used processor time.
func (s *Session) watchPause(over chan struct{}) {
	g, used := s.w.slot.group, int64(-1)
	for {
		select {
		case <-over:
			return
		case <-s.w.exited:
			return
		case <-time.After(pausedLook):
		}
		now := g.CPUMicros()
		if now == 0 || now != used {
			s.endIfRuns(used > 0 && now-used > pausedCPU)
		}
		used = now
	}
}

// endIfRuns ends the sandbox if a process runs, or if it is known that one did.
func (s *Session) endIfRuns(ran bool) {
	p := s.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped || !ran && !anyRuns(s.w.slot.pid) {
		return
	}
	time.Sleep(pausedAgain) // the kernel may have woken one to stop it again
	if !ran && !anyRuns(s.w.slot.pid) {
		return
	}
	s.w.pool.cfg.Log.Warn("interpreter: code of a paused session goes on; ending the session", slog.String("session_id", s.w.id))
	p.ranOn.Store(true)
	s.w.slot.kill()
}

// anyRuns reports whether a thread of a descendant of a process runs, or can run at any moment.
func anyRuns(pid int) bool {
	for _, one := range process.Descendants(pid) {
		dir := "/proc/" + strconv.Itoa(one) + "/task"
		threads, _ := os.ReadDir(dir) // none if it has ended
		for _, t := range threads {
			text, err := os.ReadFile(dir + "/" + t.Name() + "/stat")
			if err != nil {
				continue
			}
			// The state follows the name, which may contain anything. One that waits in the kernel (D) may wait for a stopped child.
			_, rest, _ := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
			if len(rest) > 0 && (rest[0] == 'R' || rest[0] == 'S') {
				return true
			}
		}
	}
	return false
}
