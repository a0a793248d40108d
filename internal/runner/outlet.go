package runner

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// outlet passes on the output of a command to followers that are attached to it. They are promised all of it, so
// the command waits for the slowest: its pipe is not read, and the runner holds no more than it has just read. Without
// followers it does nothing. A nil outlet has none.
type outlet struct {
	records CommandRecords
	claim   job.Claim
	log     *slog.Logger
	over    chan struct{} // closed when output waits for no follower any more
	finish  sync.Once
	late    *time.Timer // records the pid of a command whose caller does not wait for it; nil if there is none

	on atomic.Bool // there is a follower
	mu sync.Mutex  // held during writes, which keeps them in order
	// at is the position behind what is written, and taken is how far all followers have taken that, as far as it is known.
	at, taken uint64
	pid       int
	begun     bool     // the command has a process
	early     []string // followers that are attached once it has one, because their mark has the pid

	waking sync.Mutex
	moved  chan struct{} // closed, and replaced, when followers may have taken more; waking guards it
}

const (
	// outletLook makes up for a message of a follower that was lost.
	outletLook = time.Second
	// outletEnd bounds the time in which the last output has to reach a Redis that does not answer.
	outletEnd = 5 * time.Second
	// pidWait bounds the record of the pid of a command whose caller waits for it. Other commands are recorded after pidLater, so short ones
	// cost nothing.
	pidWait  = 2 * time.Second
	pidLater = 100 * time.Millisecond
)

func newOutlet(records CommandRecords, claim job.Claim, log *slog.Logger) *outlet {
	return &outlet{
		records: records, claim: claim, log: log.With(slog.String("job_id", claim.JobID)),
		over: make(chan struct{}), moved: make(chan struct{}),
	}
}

// Started attaches the follower that has started the command, and records the pid.
func (o *outlet) Started(pid int) {
	o.begin(pid)
	if first := o.claim.Spec.Command.Attach; first != "" {
		o.attach(first) // it gets the pid with its mark
	} else if o.claim.Spec.Command.Background && o.record(pid) {
		return
	}
	o.late = time.AfterFunc(pidLater, func() {
		for !o.record(pid) && !o.isOver() {
			select {
			case <-o.over:
			case <-time.After(outletLook):
			}
		}
	})
}

// begin attaches the followers that came before the process, and so before its output.
func (o *outlet) begin(pid int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pid, o.begun = pid, true
	for _, follower := range o.early {
		o.add(follower)
	}
	o.early = nil
}

// record records the pid of the command. It returns false if that is to be tried again.
func (o *outlet) record(pid int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), pidWait)
	defer cancel()
	err := o.records.CommandStarted(ctx, o.claim, pid)
	if err != nil && !errors.Is(err, job.ErrStale) {
		o.log.Warn("the process of a command is not recorded", slog.Any("err", err))
	}
	return !errors.Is(err, job.ErrUnavailable)
}

// attach adds a follower, which gets what is written from now on.
func (o *outlet) attach(follower string) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.begun && !o.isOver() {
		if !slices.Contains(o.early, follower) {
			o.early = append(o.early, follower)
		}
		return
	}
	o.add(follower)
}

// add writes the mark of a follower. It is called with mu held.
func (o *outlet) add(follower string) {
	err := o.records.AttachOutput(context.Background(), o.claim, follower, o.at+1, o.pid)
	if err != nil {
		o.log.Warn("a follower could not be attached to a command", slog.Any("err", err)) // it tries again
		return
	}
	if !o.on.Load() {
		o.taken = o.at
	}
	o.at++
	o.on.Store(true)
}

// Stream waits until there is room for output, and writes it.
func (o *outlet) Stream(kind string, p []byte) {
	for o.on.Load() && len(p) > 0 {
		o.mu.Lock()
		if o.at-o.taken < job.OutputWindow || o.isOver() {
			o.write(kind, p)
			o.mu.Unlock()
			return
		}
		moved := o.nextMove() // before the look, so that no message is missed
		o.look()
		full := o.on.Load() && o.at-o.taken >= job.OutputWindow
		o.mu.Unlock()
		if full {
			o.await(moved)
		}
	}
}

// await waits until followers may have taken more.
func (o *outlet) await(moved <-chan struct{}) {
	t := time.NewTimer(outletLook)
	defer t.Stop()
	select {
	case <-moved:
	case <-t.C:
	case <-o.over:
	}
}

func (o *outlet) nextMove() <-chan struct{} {
	o.waking.Lock()
	defer o.waking.Unlock()
	return o.moved
}

// wake says that followers may have taken more. It never blocks.
func (o *outlet) wake() {
	if o == nil || !o.on.Load() {
		return
	}
	o.waking.Lock()
	defer o.waking.Unlock()
	close(o.moved)
	o.moved = make(chan struct{})
}

// look asks how far the followers are. Its caller holds mu, as those of the functions below do.
func (o *outlet) look() {
	taken, followed, err := o.records.AppendOutput(context.Background(), o.claim, true)
	o.learn(taken, followed, err)
}

func (o *outlet) learn(taken uint64, followed bool, err error) {
	switch {
	case errors.Is(err, job.ErrUnavailable):
		o.log.Warn("output for followers of a command is not written: will try again", slog.Any("err", err))
	case err != nil:
		if !errors.Is(err, job.ErrStale) && !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrGone) {
			o.log.Error("output for followers of a command is not written", slog.Any("err", err))
		}
		o.on.Store(false)
	case !followed:
		o.on.Store(false)
	default:
		o.taken = taken
	}
}

// write writes output. A Redis that is away holds the command up.
func (o *outlet) write(kind string, p []byte) {
	end := o.at + max(uint64(len(p)), 1)
	until := time.Time{}
	for {
		taken, followed, err := o.records.AppendOutput(context.Background(), o.claim, false, job.CommandOutput{At: end, Kind: kind, Data: p})
		o.learn(taken, followed, err)
		if !errors.Is(err, job.ErrUnavailable) {
			break
		}
		if o.isOver() {
			if until.IsZero() {
				until = time.Now().Add(outletEnd)
			}
			if time.Now().After(until) {
				o.on.Store(false)
				break
			}
		}
		select {
		case <-o.over:
			time.Sleep(outletEnd / 20)
		case <-time.After(outletLook):
		}
	}
	o.at = end
}

func (o *outlet) isOver() bool {
	select {
	case <-o.over:
		return true
	default:
		return false
	}
}

// Finish lets output wait for no follower any more. The rest of a pipe is written at once.
func (o *outlet) Finish() {
	o.finish.Do(func() {
		close(o.over)
		if o.late != nil {
			o.late.Stop()
		}
	})
}

// end says to the followers that nothing comes any more.
func (o *outlet) end() {
	if o == nil {
		return
	}
	o.Finish()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, follower := range o.early { // there was no process
		o.add(follower)
	}
	o.early = nil
	if o.on.Load() {
		o.write(job.OutputEnd, nil)
		o.on.Store(false)
	}
}
