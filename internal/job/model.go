package job

// Model is the pure model of a job's life: the effect of each operation of the store on a
// record, and its answer. The store implements it in Lua, since each operation has to be one
// step in Redis. A randomised test compares the two after every step.
type Model struct {
	State       State
	Attempt     int
	MaxAttempts int
	Runner      string
	Session     string
	Due         bool // scheduled, and its time has come
	Cancel      bool // its owner has requested its end
	Failure     FailureCode
	HasResult   bool
	// Outbox: the job's task must be enqueued.
	Outbox bool
	// Expired: the record is gone, and only a tombstone is left.
	Expired bool
}

// to moves the model. An illegal move is an error of the model itself.
func (m Model) to(s State) Model {
	if !CanMove(m.State, s) {
		panic("job: the model moves from " + string(m.State) + " to " + string(s))
	}
	m.State = s
	return m
}

// settled ends the job.
func (m Model) settled(s State, f FailureCode) Model {
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
		return m, ErrGone
	case m.State == Running && m.Runner == runner && m.Session == session:
		return m, nil
	case !registered:
		return m, ErrUnregistered
	case m.State == Scheduled && m.Due:
		m = m.to(Queued)
	case m.State != Queued:
		return m, ErrStale
	}
	m = m.to(Running)
	m.Attempt++
	m.Runner, m.Session, m.Outbox = runner, session, false
	return m, nil
}

// Finish ends the attempt of a claim.
func (m Model) Finish(c Claim, to State, f FailureCode, result bool) (Model, error) {
	switch {
	case m.Expired:
		return m, ErrGone
	case m.Attempt != c.Attempt || m.Runner != c.Runner:
		return m, ErrStale
	case m.State == to:
		return m, nil // the same end, sent again
	case m.State != Running:
		return m, ErrStale
	}
	m = m.settled(to, f)
	m.HasResult = result
	return m, nil
}

// GiveBack ends the attempt of a claim that was not completed.
func (m Model) GiveBack(c Claim, f FailureCode) (Model, error) {
	switch {
	case m.Expired:
		return m, ErrGone
	case m.Attempt != c.Attempt || m.Runner != c.Runner:
		return m, ErrStale
	case m.State == Failed:
		return m, nil
	case m.State != Running:
		return m, ErrStale
	}
	return m.retryOrFail(f), nil
}

// Lose ends the attempt whose runner was lost.
func (m Model) Lose(runner string) Model {
	if m.Expired || m.State != Running || m.Runner != runner {
		return m
	}
	return m.retryOrFail(FailRunnerLost)
}

func (m Model) retryOrFail(f FailureCode) Model {
	switch {
	case m.Cancel:
		return m.settled(Cancelled, FailCancelled)
	case m.Attempt >= m.MaxAttempts:
		return m.settled(Failed, f)
	}
	m = m.to(Queued)
	m.Outbox = true
	return m
}

// Reject fails a job for which no attempt could be started.
func (m Model) Reject(f FailureCode) (Model, error) {
	switch {
	case m.Expired:
		return m, ErrGone
	case m.State != Queued && m.State != Scheduled:
		return m, ErrStale
	}
	return m.settled(Failed, f), nil
}

// Stop ends a waiting job and requests the end of a running one. With waitingOnly it ends only
// waiting jobs. It returns the state for the caller.
func (m Model) Stop(f FailureCode, waitingOnly bool) (Model, State, error) {
	switch {
	case m.Expired:
		return m, "", ErrGone
	case m.State.Terminal():
		return m, "", ErrFinished
	case m.State == Running:
		m.Cancel = m.Cancel || !waitingOnly
		return m, Running, nil
	}
	return m.settled(Cancelled, f), Cancelled, nil
}

// Enqueued confirms that the task of an attempt is on its queue.
func (m Model) Enqueued(attempt int) Model {
	if m.Expired || m.Attempt+1 != attempt {
		return m
	}
	if m.State == Scheduled {
		m = m.to(Queued)
	}
	m.Outbox = false
	return m
}
