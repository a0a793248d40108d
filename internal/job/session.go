package job

import (
	"encoding/json"
	"time"
)

// Session is the record of one live interpreter whose globals persist from one
// execution to the next.
type Session struct {
	ID        string
	Owner     string // whose it is; only operators see it
	Name      string // chosen by its caller, and unique among the caller's live sessions; may be empty
	State     SessionState
	Runner    string // id of its runner
	Runtime   string
	CreatedAt time.Time
	LastUsed  time.Time // end of its last execution, or its creation
	// ExpiresAt is the time at which it ends unless it is used again. While it is busy, it is
	// the time at which it ends because of its age.
	ExpiresAt   time.Time
	IdleTimeout time.Duration
	MaxAge      time.Duration
	Workdir     string // see SessionSpec
	Home        string
	EndsAt      time.Time  // the time that was set for its end; zero if none was
	PausedAt    time.Time  // zero if it is not paused, or about to be
	PausedUntil time.Time  // when it ends unless it is resumed
	AutoResume  bool       // what comes next resumes it
	AtEnd       *PauseArgs // of the pause at EndsAt; nil if it ends then
	ResumedAt   time.Time  // the end of its last pause; zero if there was none
	Waiting     int        // executions that wait for their turn
	Restarts    int        // interpreters that were replaced for lack of memory
	Quota       Quota      // zero in lists, and where the record has none
	MemoryBytes int64      // that its sandbox used lately; 0 where that was not looked up, or is not known
	Metadata    json.RawMessage
	Persist     Persistence // zero if its files are not kept
	ForkedFrom  string      // the session of which it is a fork; empty if it is none
	Reason      EndReason   // reason for its end; empty while it lives
	Message     string      // the same for people
	EndedAt     time.Time
}

// SessionState is the state of a session. Idle and busy alternate until it has ended.
type SessionState string

// The states of a session.
const (
	SessionIdle   SessionState = "idle"   // no executions, in no lane
	SessionBusy   SessionState = "busy"   // executions run or wait for their turn, in whichever lane
	SessionPaused SessionState = "paused" // its processes are stopped
	SessionEnded  SessionState = "ended"  // takes no more; the record is kept for a while to give the reason
)

// EndReason is a reason for the end of a session.
type EndReason string

// The reasons for the end of a session.
const (
	EndDeleted     EndReason = "deleted"      // its owner ended it
	EndIdle        EndReason = "idle_timeout" // it was not used for too long
	EndAge         EndReason = "max_age"      // it has reached its maximum age
	EndSet         EndReason = "ends_at"      // the time that was set for its end has come
	EndPause       EndReason = "pause_limit"  // it was paused for as long as it may be
	EndRunnerLost  EndReason = "runner_lost"  // its runner died
	EndDrained     EndReason = "drained"      // its runner was shut down
	EndEvicted     EndReason = "evicted"      // its place was needed, and it had been idle for long
	EndMemory      EndReason = "memory_limit" // its code needed more memory than its limit
	EndCPU         EndReason = "cpu_limit"    // an execution needed more processor time than its limit
	EndCrashed     EndReason = "crashed"      // the interpreter ended: a crash, os._exit
	EndKilled      EndReason = "killed"       // an execution did not end when it was interrupted
	EndStartFailed EndReason = "start_failed" // no interpreter could be started
)

// EndOfDrain is the end of a session whose runner is shut down.
func EndOfDrain() SessionEnd {
	return SessionEnd{Reason: EndDrained, Message: "the runner that it lived on was shut down"}
}

// The queues in the records of executions of sessions. They are no queues of asynq: executions
// wait in the session.
const (
	SessionQueue   = "sessions"   // code
	OperationQueue = "operations" // other operations on a session; not in listings
)

// Lanes. The jobs of one lane of a session run one after the other, in the order of their acceptance; those of different
// lanes run at the same time. Every other lane than these two has the name that its jobs give. A name has no space and does
// not begin with LaneBeside.
const (
	// LaneDefault is the lane of the session's own interpreter.
	LaneDefault = ""
	// LaneBeside gives a job a lane of its own. In a record and a claim, the name of that lane is LaneBeside and the job's id.
	LaneBeside = "*"
)

// LaneOf is the lane of an operation on a session. Those on files take no turn.
func LaneOf(op string) string {
	switch op {
	case OpPutFiles, OpListFiles, OpReadFile, OpRemoveFile, OpFileSystem, OpReadFileSystem, OpWatchFiles, OpMeasure:
		return LaneBeside
	}
	return LaneDefault
}

// Beside is the name of the lane that a job with LaneBeside has.
func Beside(jobID string) string { return LaneBeside + jobID }

// MaxLanes is the number of lanes of a session, besides the default one, that may have something to do at once.
const MaxLanes = 128

// ReadyLane is a lane of a session that has something to execute.
type ReadyLane struct{ Session, Lane string }

// IsReservedQueue reports whether a name is one of these.
func IsReservedQueue(name string) bool { return name == SessionQueue || name == OperationQueue }

// Bounds of forks.
const (
	MaxForks       = 16 // in one request
	MaxCheckpoints = 8  // of one session
)

// Operations on a session besides executing code: see Spec.Op.
const (
	OpRestart    = "restart"
	OpFork       = "fork"
	OpCheckpoint = "checkpoint"
	OpRollback   = "rollback"
	OpPause      = "pause"
	OpResume     = "resume"
	OpMeasure    = "measure"
	OpPackages   = "packages"
)

// SessionMeasure is what the sandbox of a session uses at one moment.
type SessionMeasure struct {
	CPUPercent  float64 `json:"cpuPercent"` // 100 is one processor
	MemoryBytes int64   `json:"memoryBytes"`
	DiskBytes   int64   `json:"diskBytes"`
}

// ForkArgs name the sessions to be made.
type ForkArgs struct {
	Sessions []string `json:"sessions"`
	SessionBounds
}

// SessionBounds are what the live sessions of a caller may be and take together because of its key; 0 is no limit of the key.
type SessionBounds struct {
	MostOwn   int   `json:"mostOwn,omitempty"`   // sessions
	OwnMemory int64 `json:"ownMemory,omitempty"` // bytes, by their limits
	OwnDisk   int64 `json:"ownDisk,omitempty"`
}

// CheckpointArgs name a checkpoint; in a rollback, empty means the newest.
type CheckpointArgs struct {
	Checkpoint string `json:"checkpoint,omitempty"`
}

// SessionSpec has the settings with which an interpreter of a session is started. The store
// keeps it as JSON; the record never shows it.
type SessionSpec struct {
	// Runtime and Packages are as those of a Spec.
	Runtime  string            `json:"runtime,omitempty"`
	Packages []string          `json:"packages,omitempty"`
	Preload  []string          `json:"preload,omitempty"`
	Envs     map[string]string `json:"envs,omitempty"`
	Quota    Quota             `json:"quota,omitzero"`
	// Workdir is the path of the working directory; empty is the usual one. Home is that of HOME; empty is the same.
	Workdir string `json:"workdir,omitempty"`
	Home    string `json:"home,omitempty"`
	// Volume is the name of the volume that the working directory is; empty for none.
	Volume string `json:"volume,omitempty"`
	// EndOnMemory ends the session together with an interpreter that needs too much memory;
	// otherwise a fresh one replaces it.
	EndOnMemory bool `json:"endOnMemory,omitempty"`
	// RestartOnCrash replaces an interpreter that has crashed, was killed, or had used up its processor time, too. A session with other contexts
	// does that in any case.
	RestartOnCrash bool `json:"restartOnCrash,omitempty"`
	// Network has the destinations that its code may reach; nil for none.
	Network *Network `json:"network,omitempty"`
	// Owner is whose the session is; empty for a caller without a key. It is in claims only.
	Owner string `json:"-"`
}

// Reactions to a session whose code needs more memory than its limit.
const (
	OnMemoryRestart = "restart" // a fresh interpreter, among the same files
	OnMemoryEnd     = "end"
)

// Reactions to the end of a session's interpreter by another reason.
const (
	OnCrashRestart = "restart" // as OnMemoryRestart
	OnCrashEnd     = "end"
)

// NewSession is a session that is not recorded yet.
type NewSession struct {
	Session Session // with its ID
	Spec    SessionSpec
	EndsIn  time.Duration // sets Session.EndsAt, from its creation on; 0 if that is not set so
	Caller  string
	Shares  bool // other callers share the runners: then it gets no more than it leaves for them
	SessionBounds
	// Candidates are the runners that may get it.
	Candidates []Candidate
}

// Candidate is a runner with its room for sessions, and the runtime that the session would have
// there.
type Candidate struct {
	Runner  string
	Most    int
	Runtime string
}

// SessionEnd is the end of a session with its reason.
type SessionEnd struct {
	Reason  EndReason
	Message string
}

// Observation is one report to an observer of all executions of a session.
type Observation struct {
	Last string      // the last execution that was accepted, for the next observation
	Jobs []string    // executions accepted since the one before, in order; the observer may know some
	End  *SessionEnd // it has ended, and why
}

// Answer is a client's answer to code that requests input.
type Answer struct {
	JobID   string
	Request int // the request that it answers, from 1 on
	Text    string
	EOF     bool // the input ends here
}

// SessionAfter is the state of the session in an execution's result.
type SessionAfter struct {
	ID     string       `json:"id" doc:"The session."`
	State  SessionState `json:"state" enum:"idle,ended" doc:"idle (it goes on; variables, modules and files are kept), ended (this execution was its last)."`
	Reason EndReason    `json:"reason,omitempty" doc:"Why it has ended: memory_limit, cpu_limit, crashed, killed (the code did not end when it was interrupted). With restarted, why its interpreter has: memory_limit; in a session with contexts, or onCrash: restart, any of these."`
	// Restarted: see OnMemoryRestart.
	Restarted bool   `json:"restarted,omitempty" doc:"The interpreter of the session, or of its context, has ended, in this execution or since the one before, and a fresh one took its place: variables and modules are gone, files are kept."`
	Message   string `json:"message,omitempty" doc:"With restarted: the same for people."`
}

// SessionRequest is a decoded request for a session.
type SessionRequest struct {
	Runtime     string
	Packages    []string // requirements, as in a Request
	Preload     []string
	Envs        map[string]string
	IdleTimeout *float64 // seconds
	MaxAge      *float64 // seconds
	Workdir     string
	Home        string
	Persist     *string
	OnMemory    string // OnMemoryRestart unless it is OnMemoryEnd
	OnCrash     string // OnCrashEnd unless it is OnCrashRestart
	Limits      QuotaRequest
	Network     *Network
	EndsIn      *float64   // seconds
	EndsAt      *time.Time // the same as a time
	OnEnd       string     // OnEndPause, or OnEndEnd; empty is that
	AutoResume  bool       // of the pause at the end
	Metadata    json.RawMessage
}

// Consequences of the time that was set for the end of a session.
const (
	OnEndEnd   = "end"
	OnEndPause = "pause"
)

// SessionLimits are the bounds and defaults of sessions.
type SessionLimits struct {
	IdleTimeout, MaxIdleTimeout time.Duration
	Age, MaxAge                 time.Duration
	MaxPause                    time.Duration
	MaxPaused                   int // sessions of one caller; 0 is no limit
}

// AcceptSession checks r against l and returns the session that it requests. It
// has no ID yet. All errors are reported at once.
func (l Limits) AcceptSession(r SessionRequest) (NewSession, error) {
	var v validation
	l.checkEnvs(&v, r.Envs)
	endsIn, endsAt := l.end(&v, r.EndsIn, r.EndsAt)
	idle, age := l.Sessions.IdleTimeout, l.Sessions.Age
	if !endsAt.IsZero() && !endsAt.After(time.Now()) {
		v.add("endsAt", "is in the past; send a time that is to come")
	}
	if r.EndsIn != nil || r.EndsAt != nil { // a caller that sets the end wants no other
		idle, age = l.Sessions.MaxIdleTimeout, l.Sessions.MaxAge
	}
	s := Session{
		State:       SessionIdle,
		Runtime:     l.runtime(&v, r.Runtime),
		IdleTimeout: v.seconds("idleTimeout", r.IdleTimeout, time.Second, l.Sessions.MaxIdleTimeout, idle),
		MaxAge:      v.seconds("maxAge", r.MaxAge, time.Second, l.Sessions.MaxAge, age),
		EndsAt:      endsAt,
		Metadata:    l.metadata(&v, r.Metadata),
	}
	s.AtEnd = l.atEnd(&v, r.OnEnd, r.AutoResume)
	workdir, home := places(&v, r.Workdir, r.Home)
	volume := checkVolume(&v, r.Persist)
	packages := l.packages(&v, r.Packages)
	preload := l.preload(&v, r.Preload, packages)
	quota := l.quota(&v, r.Limits)
	network := l.network(&v, r.Network)
	if len(v.fields) > 0 {
		return NewSession{}, &ValidationError{Fields: v.fields}
	}
	s.Workdir, s.Home, s.Persist.Volume = workdir, home, volume
	spec := SessionSpec{Runtime: WithPreload(WithPackages(s.Runtime, packages), preload, l.Tenant), Packages: packages, Preload: preload, Envs: r.Envs, Quota: quota, Workdir: workdir, Home: home, Volume: volume, EndOnMemory: r.OnMemory == OnMemoryEnd, RestartOnCrash: r.OnCrash == OnCrashRestart, Network: network}
	return NewSession{Session: s, Spec: spec, EndsIn: endsIn}, nil
}

// atEnd returns the arguments of the pause that a session is to have at its end; nil for none.
func (l Limits) atEnd(v *validation, onEnd string, autoResume bool) *PauseArgs {
	switch onEnd {
	case OnEndPause:
		a, _ := l.AcceptPause(nil, autoResume) // its own defaults are right
		return &a
	case "", OnEndEnd:
	default:
		v.add("onEnd", "must be end or pause")
	}
	if autoResume {
		v.add("autoResume", "is about a pause at the end; send \"onEnd\": \"pause\" with it")
	}
	return nil
}

// inSession refuses fields that an execution of a session cannot have, because they belong to
// the session or make no sense there.
func (r Request) inSession(v *validation) {
	const ofSession = "cannot be chosen for one execution of a session; give it when you create the session"
	refuse := func(given bool, field, why string) {
		if given {
			v.add(field, "%s", why)
		}
	}
	refuse(r.Runtime != "", "runtime", ofSession)
	refuse(r.Network != nil, "network", ofSession)
	refuse(len(r.Packages) > 0, "packages", ofSession)
	refuse(len(r.Preload) > 0, "preload", ofSession)
	refuse(len(r.Argv) > 0, "args", "cannot be combined with sessionId; sys.argv of a session is as that of an interactive interpreter")
	refuse(r.Queue != "", "queue", "cannot be chosen for an execution of a session; leave it out")
	refuse(r.Delay != nil && *r.Delay != 0, "delay", "cannot be combined with sessionId; executions of a session run in the order in which they are accepted")
	refuse(r.RunAt != nil, "runAt", "cannot be combined with sessionId; executions of a session run in the order in which they are accepted")
	refuse(r.After != "", "after", "cannot be combined with sessionId; executions of a session run in the order in which they are accepted")
	refuse(r.MaxAttempts != nil && *r.MaxAttempts != 1, "maxAttempts", "must be 1 in a session; its variables are lost with its runner")
	for _, field := range r.Limits.ofSession() {
		v.add(field, "%s", ofSession)
	}
}
