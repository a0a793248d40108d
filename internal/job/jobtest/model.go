// Package jobtest has the pure model of a job's life. Tests compare the store with it; no
// process of Kaa uses it.
package jobtest

import (
	"slices"

	"github.com/kaa-run/kaa/internal/job"
)

// CanMove reports whether a job may go from one state to the other.
func CanMove(from, to job.State) bool { return slices.Contains(next(from), to) }

// next lists the legal moves out of s. The exhaustive linter makes a new state fail here until
// its moves are decided.
func next(s job.State) []job.State {
	switch s {
	case job.Scheduled:
		return []job.State{job.Queued, job.Cancelled, job.Failed}
	case job.Queued:
		return []job.State{job.Running, job.Cancelled, job.Failed}
	case job.Running:
		return []job.State{job.Completed, job.Cancelled, job.Failed, job.Queued}
	case job.Completed, job.Cancelled, job.Failed, job.BatchRefused:
		return nil
	}
	return nil
}

// Model is the pure model of a job's life: the effect of each operation of the store on a
// record, and its answer. The store implements it in Lua, since each operation has to be one
// step in Redis. A randomised test compares the two after every step.
type Model struct {
	State       job.State
	Attempt     int
	MaxAttempts int
	Runner      string
	Session     string
	Due         bool // scheduled, and its time has come
	Cancel      bool // its owner has requested its end
	Failure     job.FailureCode
	HasResult   bool
	// Outbox: the job's task must be enqueued.
	Outbox bool
	// Expired: the record is gone, and only a tombstone is left.
	Expired bool
}

// to moves the model. An illegal move is an error of the model itself.
func (m Model) to(s job.State) Model {
	if !CanMove(m.State, s) {
		panic("job: the model moves from " + string(m.State) + " to " + string(s))
	}
	m.State = s
	return m
}

// settled ends the job.
func (m Model) settled(s job.State, f job.FailureCode) Model {
	m = m.to(s)
	m.Cancel, m.Outbox = false, false
	if f != "" {
		m.Failure = f
	}
	return m
}

// Claim starts the next attempt. The same claim, sent again, is the same.
func (m Model) Claim(runner, session string, registered bool) (Model, error) {
	switch {
	case m.Expired:
		return m, job.ErrGone
	case m.State == job.Running && m.Runner == runner && m.Session == session:
		return m, nil
	case !registered:
		return m, job.ErrUnregistered
	case m.State == job.Scheduled && m.Due:
		m = m.to(job.Queued)
	case m.State != job.Queued:
		return m, job.ErrStale
	}
	m = m.to(job.Running)
	m.Attempt++
	m.Runner, m.Session, m.Outbox = runner, session, false
	return m, nil
}

// Finish ends the attempt of a claim.
func (m Model) Finish(c job.Claim, to job.State, f job.FailureCode, result bool) (Model, error) {
	switch {
	case m.Expired:
		return m, job.ErrGone
	case m.Attempt != c.Attempt || m.Runner != c.Runner:
		return m, job.ErrStale
	case m.State == to:
		return m, nil // the same end, sent again
	case m.State != job.Running:
		return m, job.ErrStale
	}
	m = m.settled(to, f)
	m.HasResult = result
	return m, nil
}

// GiveBack ends the attempt of a claim that was not completed.
func (m Model) GiveBack(c job.Claim, f job.FailureCode) (Model, error) {
	switch {
	case m.Expired:
		return m, job.ErrGone
	case m.Attempt != c.Attempt || m.Runner != c.Runner:
		return m, job.ErrStale
	case m.State == job.Failed:
		return m, nil
	case m.State != job.Running:
		return m, job.ErrStale
	}
	return m.retryOrFail(f), nil
}

// Lose ends the attempt whose runner was lost.
func (m Model) Lose(runner string) Model {
	if m.Expired || m.State != job.Running || m.Runner != runner {
		return m
	}
	return m.retryOrFail(job.FailRunnerLost)
}

func (m Model) retryOrFail(f job.FailureCode) Model {
	switch {
	case m.Cancel:
		return m.settled(job.Cancelled, job.FailCancelled)
	case m.Attempt >= m.MaxAttempts:
		return m.settled(job.Failed, f)
	}
	m = m.to(job.Queued)
	m.Outbox = true
	return m
}

// Reject fails a job for which no attempt could be started.
func (m Model) Reject(f job.FailureCode) (Model, error) {
	switch {
	case m.Expired:
		return m, job.ErrGone
	case m.State != job.Queued && m.State != job.Scheduled:
		return m, job.ErrStale
	}
	return m.settled(job.Failed, f), nil
}

// Stop ends a waiting job and requests the end of a running one. With waitingOnly it ends only
// waiting jobs. It returns the state for the caller.
func (m Model) Stop(f job.FailureCode, waitingOnly bool) (Model, job.State, error) {
	switch {
	case m.Expired:
		return m, "", job.ErrGone
	case m.State.Terminal():
		return m, "", job.ErrFinished
	case m.State == job.Running:
		m.Cancel = m.Cancel || !waitingOnly
		return m, job.Running, nil
	}
	return m.settled(job.Cancelled, f), job.Cancelled, nil
}

// Enqueued confirms that the task of an attempt is on its queue.
func (m Model) Enqueued(attempt int) Model {
	if m.Expired || m.Attempt+1 != attempt {
		return m
	}
	if m.State == job.Scheduled {
		m = m.to(job.Queued)
	}
	m.Outbox = false
	return m
}
