package job

import (
	"encoding/json"
	"time"
)

// Session is the record of one live interpreter whose globals persist from one
// execution to the next.
type Session struct {
	ID        string
	State     SessionState
	Runner    string // id of the runner that it lives on
	Runtime   string
	CreatedAt time.Time
	LastUsed  time.Time // end of its last execution, or its creation
	// ExpiresAt is when it ends unless it is used again; while it is busy, when it ends
	// because of its age.
	ExpiresAt   time.Time
	IdleTimeout time.Duration
	MaxAge      time.Duration
	Waiting     int // executions that wait for their turn
	Restarts    int // interpreters that were replaced for want of memory
	Metadata    json.RawMessage
	ForkedFrom  string    // the session that it began as a copy of; empty if it did not
	Reason      EndReason // why it has ended; empty while it lives
	Message     string    // the same for people
	EndedAt     time.Time
}

// SessionState is where a session is in its life: idle and busy take turns until it
// has ended.
type SessionState string

// The states of a session.
const (
	SessionIdle  SessionState = "idle"  // nothing to do
	SessionBusy  SessionState = "busy"  // executions run or wait for their turn
	SessionEnded SessionState = "ended" // takes no more; the record is kept for a while to tell why
)

// EndReason names why a session has ended.
type EndReason string

// The reasons for the end of a session.
const (
	EndDeleted     EndReason = "deleted"      // its owner asked
	EndIdle        EndReason = "idle_timeout" // nobody used it for too long
	EndAge         EndReason = "max_age"      // it has lived for as long as it may
	EndRunnerLost  EndReason = "runner_lost"  // the runner that it lived on died
	EndDrained     EndReason = "drained"      // that runner was shut down
	EndEvicted     EndReason = "evicted"      // its place was needed, and it had been idle for long
	EndMemory      EndReason = "memory_limit" // its code needed more memory than it may
	EndCPU         EndReason = "cpu_limit"    // an execution needed more processor time than it may
	EndCrashed     EndReason = "crashed"      // the interpreter ended: a crash, os._exit
	EndKilled      EndReason = "killed"       // an execution did not end when it was interrupted
	EndStartFailed EndReason = "start_failed" // no interpreter could be started
)

// EndOfDrain is the end of a session whose runner is shut down.
func EndOfDrain() SessionEnd {
	return SessionEnd{Reason: EndDrained, Message: "the runner that it lived on was shut down"}
}

// The queues in the records of what sessions execute. They are no queues of asynq: what a
// session has to do waits in the session.
const (
	SessionQueue   = "sessions"   // code
	OperationQueue = "operations" // what else is done to a session; not in listings
)

// IsReservedQueue reports whether a name is of one of these.
func IsReservedQueue(name string) bool { return name == SessionQueue || name == OperationQueue }

// Bounds of the copies of sessions.
const (
	MaxForks       = 16 // that one request makes
	MaxCheckpoints = 8  // that a session has
)

// What is done to a session besides executing code: see Spec.Op.
const (
	OpRestart    = "restart"
	OpFork       = "fork"
	OpCheckpoint = "checkpoint"
	OpRollback   = "rollback"
)

// ForkArgs say which sessions are to be made.
type ForkArgs struct {
	Sessions []string `json:"sessions"`
}

// CheckpointArgs name a checkpoint; of a rollback, empty for the newest.
type CheckpointArgs struct {
	Checkpoint string `json:"checkpoint,omitempty"`
}

// SessionSpec is what an interpreter of a session is started with. Its JSON is the form
// in which the store keeps it; the record never shows it.
type SessionSpec struct {
	Runtime string            `json:"runtime,omitempty"`
	Envs    map[string]string `json:"envs,omitempty"`
	Quota   Quota             `json:"quota,omitzero"`
	// EndOnMemory ends the session with an interpreter that needs too much memory; else
	// another one takes its place.
	EndOnMemory bool `json:"endOnMemory,omitempty"`
}

// What becomes of a session whose code needs more memory than it may.
const (
	OnMemoryRestart = "restart" // a fresh interpreter, among the same files
	OnMemoryEnd     = "end"
)

// NewSession is a session to be recorded.
type NewSession struct {
	Session Session // with its ID
	Spec    SessionSpec
	Caller  string
	Shares  bool // the runners, with other callers: then it gets no more than is left for them
	// Candidates are the runners that it may live on.
	Candidates []Candidate
}

// Candidate is a runner that has room for so many sessions, and the runtime that the
// session would have there.
type Candidate struct {
	Runner  string
	Most    int
	Runtime string
}

// SessionEnd says why a session ends.
type SessionEnd struct {
	Reason  EndReason
	Message string
}

// Observation is what somebody who sees all that a session executes is told.
type Observation struct {
	Last string      // the last execution that was accepted, for the next observation
	Jobs []string    // what was accepted since the one before, in order; some may be known already
	End  *SessionEnd // it has ended, and why
}

// Answer is what somebody answers to code that asks for input.
type Answer struct {
	JobID   string
	Request int // which of the execution's requests it answers, from 1 on
	Text    string
	EOF     bool // there is no more
}

// SessionAfter is what an execution's result says of its session.
type SessionAfter struct {
	ID     string       `json:"id" doc:"The session."`
	State  SessionState `json:"state" enum:"idle,ended" doc:"idle (it goes on; variables, modules and files are kept), ended (this execution was its last)."`
	Reason EndReason    `json:"reason,omitempty" doc:"Why it has ended: memory_limit, cpu_limit, crashed, killed (the code did not end when it was interrupted). With restarted, why its interpreter has: memory_limit."`
	// Restarted: see OnMemoryRestart.
	Restarted bool   `json:"restarted,omitempty" doc:"The code needed more memory than it may, in this execution or since the one before, and a fresh interpreter took its place: variables and modules are gone, files are kept."`
	Message   string `json:"message,omitempty" doc:"With restarted: the same for people."`
}

// SessionRequest is what a caller may ask for of a session, as decoded.
type SessionRequest struct {
	Runtime     string
	Envs        map[string]string
	IdleTimeout *float64 // seconds
	MaxAge      *float64 // seconds
	OnMemory    string   // OnMemoryRestart unless it is OnMemoryEnd
	Limits      QuotaRequest
	Metadata    json.RawMessage
}

// SessionLimits are the bounds and defaults of sessions.
type SessionLimits struct {
	IdleTimeout, MaxIdleTimeout time.Duration
	Age, MaxAge                 time.Duration
}

// AcceptSession checks r against l and returns the session and the spec that it asks
// for. The session has no ID yet. All that is wrong is reported at once.
func (l Limits) AcceptSession(r SessionRequest) (Session, SessionSpec, error) {
	var v validation
	l.checkEnvs(&v, r.Envs)
	s := Session{
		State:       SessionIdle,
		Runtime:     l.runtime(&v, r.Runtime),
		IdleTimeout: v.seconds("idleTimeout", r.IdleTimeout, time.Second, l.Sessions.MaxIdleTimeout, l.Sessions.IdleTimeout),
		MaxAge:      v.seconds("maxAge", r.MaxAge, time.Second, l.Sessions.MaxAge, l.Sessions.Age),
		Metadata:    l.metadata(&v, r.Metadata),
	}
	quota := l.quota(&v, r.Limits)
	if len(v.fields) > 0 {
		return Session{}, SessionSpec{}, &ValidationError{Fields: v.fields}
	}
	return s, SessionSpec{Runtime: s.Runtime, Envs: r.Envs, Quota: quota, EndOnMemory: r.OnMemory == OnMemoryEnd}, nil
}

// inSession refuses what an execution of a session cannot ask for, since it belongs to
// the session or makes no sense there.
func (r Request) inSession(v *validation) {
	const ofSession = "cannot be chosen for one execution of a session; give it when you create the session"
	refuse := func(given bool, field, why string) {
		if given {
			v.add(field, "%s", why)
		}
	}
	refuse(r.Runtime != "", "runtime", ofSession)
	refuse(len(r.Argv) > 0, "args", "cannot be combined with sessionId; sys.argv of a session is as that of an interactive interpreter")
	refuse(r.Queue != "", "queue", "cannot be chosen for an execution of a session; leave it out")
	refuse(r.Delay != nil && *r.Delay != 0, "delay", "cannot be combined with sessionId; executions of a session run in the order in which they are accepted")
	refuse(r.RunAt != nil, "runAt", "cannot be combined with sessionId; executions of a session run in the order in which they are accepted")
	refuse(r.MaxAttempts != nil && *r.MaxAttempts != 1, "maxAttempts", "must be 1 in a session; its variables are lost with its runner")
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"memoryBytes", r.Limits.MemoryBytes != nil},
		{"cpus", r.Limits.CPUs != nil},
		{"processes", r.Limits.Processes != nil},
		{"openFiles", r.Limits.OpenFiles != nil},
		{"fileBytes", r.Limits.FileBytes != nil},
		{"diskBytes", r.Limits.DiskBytes != nil},
	} {
		refuse(f.given, "limits."+f.name, ofSession)
	}
}

// executionQuota keeps of q what an execution of a session was asked for by itself: the
// rest is the session's.
func (r QuotaRequest) executionQuota(q Quota) Quota {
	var own Quota
	if r.CPUSeconds != nil {
		own.CPUTime = q.CPUTime
	}
	if r.OutputBytes != nil {
		own.OutputBytes = q.OutputBytes
	}
	if r.ResultBytes != nil {
		own.ResultBytes = q.ResultBytes
	}
	return own
}
