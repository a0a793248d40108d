package job

import (
	"encoding/json"
	"strings"
	"time"
)

// Job is the record of one execution request.
type Job struct {
	ID          string
	State       State
	Queue       string
	Attempt     int // claims so far; 0 before the first
	MaxAttempts int
	CreatedAt   time.Time
	ScheduledAt time.Time    // when it is due; zero unless it was delayed
	After       string       // batch that has to end before it is due; empty for none
	QueuedAt    time.Time    // when it last became ready to run; zero while scheduled
	StartedAt   time.Time    // start of the last attempt; zero before it
	FinishedAt  time.Time    // zero until the state is terminal
	Runner      string       // id of the runner of the last attempt
	SessionID   string       // id of the interpreter of the last attempt, or the session of the execution
	InSession   bool         // it is an execution of a session
	Lane        string       // of the session, in which it waits for its turn; LaneDefault, LaneBeside, or a lane's name
	PID         int          // of the first process of a command of a session, as that sees it; 0 as long as it is not known
	SoFar       *OutputSoFar // of a command of a session that runs and was looked up by itself; nil if it is not known
	Runtime     string       // name of the requested runtime, empty for the default, with the set of its packages: see WithPackages
	Timeout     time.Duration
	ResultTTL   time.Duration // time for which the record outlives the end
	Metadata    json.RawMessage
	Webhook     *Webhook // nil if the request has none
	Owner       string   // caller who submitted it; empty if it had no key
	Unfed       bool     // it is of a batch and has no record; see Store.Complete
	ScheduleID  string   // the schedule that made it
	RerunOf     string   // the job that it runs again
	WaitsFor    Wait     // of a queued job that was looked up by itself
	// Installation is how far a runner is with the packages for which a queued job waits; nil if it waits for none, or it is not known.
	Installation *Installation
	// CancelRequested is set once the owner has requested the end of a running job.
	CancelRequested bool
	Earlier         []PastAttempt // attempts before the last one
	Failure         *Failure
	Status          Status // of its result, also where that was not read; empty if it has none, or an older Kaa has written it
	Result          *Result
	// Data is the answer of an operation on a session, which has no Result.
	Data json.RawMessage
}

// PastAttempt is an attempt that has ended without an end of the job.
type PastAttempt struct {
	Attempt   int         `json:"attempt" doc:"Its number, from 1."`
	StartedAt time.Time   `json:"startedAt"`
	EndedAt   time.Time   `json:"endedAt" doc:"When the job went back to its queue."`
	Runner    string      `json:"runner" doc:"Runner of the attempt."`
	Reason    FailureCode `json:"reason" doc:"Why it ended: a code of failures, such as runner_lost."`
}

// Spec has everything that a worker needs to execute a job's code. The store keeps it as JSON;
// the job's record never shows it.
type Spec struct {
	Code string `json:"code"`
	// Command is executed instead of Code, which then is for runners that do not know commands.
	Command *Command          `json:"command,omitempty"`
	Timeout time.Duration     `json:"timeout"`
	Envs    map[string]string `json:"envs,omitempty"`
	Stdin   string            `json:"stdin,omitempty"`
	// Cwd is the directory in which the code begins: relative to the working directory, which is the default.
	Cwd string `json:"cwd,omitempty"`
	// Argv are the arguments of the program, without its name.
	Argv []string `json:"argv,omitempty"`
	// Runtime is empty for the runner's default. With Packages it also names their set: see WithPackages.
	Runtime string `json:"runtime,omitempty"`
	// Packages are requirements of packages that the code imports beside those of the runtime, in their common form.
	Packages []string `json:"packages,omitempty"`
	// Preload are modules of theirs that parked interpreters import ahead: see WithPreload.
	Preload []string `json:"preload,omitempty"`
	// Quota has the limits of the execution; in a session, only those that differ from the
	// session's.
	Quota Quota `json:"quota,omitzero"`
	// Op, if not empty, is an operation on the session that replaces the execution of code. Args
	// are its arguments.
	Op   string          `json:"op,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	// Input: the code's reads of standard input become events that request it.
	Input bool `json:"input,omitempty"`
	// PromptApart: the prompt of a request for input is in its event only, and not in the output.
	PromptApart bool `json:"promptApart,omitempty"`
	// Functions are what the code may call at its caller's. CallingCode is the code then, and Code is
	// for runners of earlier releases.
	Functions   []Function `json:"functions,omitempty"`
	CallingCode string     `json:"callingCode,omitempty"`
	Options
	// Files are put into the working directory before the code begins.
	Files []Input `json:"files,omitempty"`
	// Cases, if not nil, have the program, which runs once for each of them. Code is for runners of earlier releases then.
	Cases *Cases `json:"cases,omitempty"`
	// Network has the destinations that the code may reach; nil for none. Executions of a session have that of the session.
	Network *Network `json:"network,omitempty"`
	// KillAtTimeout: the end of Timeout kills the program at once, without an interrupt that it can handle. The runner sets it.
	KillAtTimeout bool `json:"-"`
	// Trace is for the runner's log: the code does not see it.
	Trace Trace `json:"trace,omitzero"`
}

// ContextID returns the context of a session in which the job executes; empty for the default one.
func (j Job) ContextID() string {
	if strings.HasPrefix(j.Lane, LaneBeside) {
		return ""
	}
	return j.Lane
}

// Live connects an execution with its followers, in the process that executes it. The zero value
// is for an execution that can have none.
type Live struct {
	// Tap passes the output on to followers; nil if there can be none.
	Tap *Tap
	// Answers are those to the code's requests for input; nil if it may make none.
	Answers <-chan Answer
	// Replies are those to the code's calls of the caller's functions; nil if there are none.
	// Attempt is the number in the ids of these calls.
	Replies <-chan Reply
	Attempt int
	// Messages are those to a command; nil if it can get none.
	Messages *CommandMessages
	// Bytes takes the output of a command of a session; nil if no follower can attach to it.
	Bytes ByteSink
}

// Claim is the right to execute one attempt of a job. It is fenced: the store
// accepts a result only from the claim that is still the job's current one.
type Claim struct {
	JobID     string
	Attempt   int
	Runner    string
	SessionID string
	Lane      string // of the session
	Queue     string
	// Waited is the time the job spent ready to run before this claim.
	Waited time.Duration
	Spec   Spec
	// Filled: the claim moved held jobs into the outbox, so the runner has to read it now.
	Filled bool
	// InSession: SessionID is a session, and this is its next execution. If the runner has
	// reported that the session has no interpreter, Session has the settings for a new one.
	InSession bool
	Session   SessionSpec
	// Events: the execution has followers.
	Events bool
}

// Outcome is the end of an attempt: the terminal state with its data.
type Outcome struct {
	State   State
	Result  *Result
	Failure *Failure
	// Data is the answer of an operation on a session, which replaces a Result.
	Data json.RawMessage
	// End, if not nil, ends the session of the claim.
	End *SessionEnd
	// Restarted: the session's interpreter was replaced for lack of memory.
	Restarted bool
	// Spent is what the execution took of its runner, if there is no Result to say it.
	Spent Spent
}

// Status is the way in which executed code ended.
type Status string

// The statuses of a result.
const (
	StatusOK          Status = "ok"          // ran to its end
	StatusError       Status = "error"       // ended by an uncaught exception
	StatusInterrupted Status = "interrupted" // stopped by its timeout or a cancel
	StatusExit        Status = "exit"        // the interpreter ended: sys.exit, os._exit, a crash
)

// Result is the result of an execution. The code's own failure is here, never in a Go error.
// Callers of the HTTP API get its JSON, and the store keeps the same.
type Result struct {
	Status    Status `json:"status" enum:"ok,error,interrupted,exit" doc:"How the code ended: ok (ran to its end), error (an uncaught exception), interrupted (its timeout or a cancel), exit (the interpreter ended: sys.exit, os._exit, a crash)."`
	Stdout    string `json:"stdout" doc:"Standard output of the code and of the processes that it started. Bytes that are not UTF-8 are replaced by U+FFFD."`
	Stderr    string `json:"stderr" doc:"The same for standard error. The traceback of an uncaught exception is in error, not here."`
	SessionID string `json:"sessionId" doc:"The interpreter that ran the code."`
	JobID     string `json:"jobId" doc:"The job, for GET /v1/jobs/{id}."`
	// ExitCode is absent when the code was interrupted.
	ExitCode  *int       `json:"exitCode,omitempty" doc:"Exit status of the program: 0 for ok, 1 for error (130 for KeyboardInterrupt), the code's own for exit (128 + n when signal n ended it). Absent when interrupted."`
	Signal    string     `json:"signal,omitempty" doc:"For a command: name of the signal that ended it, such as SIGTERM. exitCode is 128 + its number then."`
	Error     *Error     `json:"error,omitempty" doc:"The uncaught exception, or the reason for the end of the interpreter."`
	Truncated *Truncated `json:"truncated,omitempty" doc:"Present when a stream exceeded its byte budget: head and tail are kept, the middle is dropped."`
	// Results are values that the code showed, in the order in which it did.
	Results        []Value `json:"results,omitempty" doc:"Values that the code showed: objects that it gave to display(), the value of its last expression, matplotlib's figures. In the order in which it did."`
	ResultsDropped int     `json:"resultsDropped,omitempty" doc:"How many more it showed, for which there was no room."`
	// Notices name the missing parts of the result and of the files.
	Notices []Notice `json:"notices,omitempty" doc:"Parts that are missing here, or changed, with sizes and the remedy: forms and values without room, pictures made smaller, tables cut, output and files dropped, forms that failed."`
	// Outputs is for callers; the store keeps Order instead, which takes less.
	Outputs    []Output `json:"outputs,omitempty" nullable:"false" doc:"All of stdout, stderr and results, and error, in one list, in the order in which the code made it."`
	Order      Order    `json:"order,omitempty" hidden:"true"`
	DurationMs float64  `json:"durationMs" doc:"Time the code ran, in milliseconds."`
	// CPUMs and PeakMemoryBytes are 0 where the runner cannot measure them.
	CPUMs           float64 `json:"cpuMs" doc:"CPU time that the code and the processes it started used, in milliseconds."`
	PeakMemoryBytes int64   `json:"peakMemoryBytes" doc:"The most memory that the code and the processes it started held at once, in bytes."`
	QueuedMs        float64 `json:"queuedMs" doc:"Time the job waited until a runner took it, in milliseconds."`
	// Cases are nil except for a program with cases.
	Cases      []CaseResult   `json:"cases,omitempty" nullable:"false" doc:"For a program with cases: what became of each, in their order."`
	CaseCounts map[string]int `json:"caseCounts,omitempty" doc:"How many cases have each verdict."`
	// Network is nil unless the request, or that of the session, has one.
	Network *NetworkUsage `json:"network,omitempty" doc:"Use of the network by the code, if its request has one. In a session: that of the session meanwhile."`
	// Session is nil except for executions of a session.
	Session *SessionAfter `json:"session,omitempty" doc:"For an execution of a session: whether the session goes on."`

	// Limit is the limit at which the code was ended, for logs and metrics. Callers see it in
	// Error.
	Limit LimitName `json:"-"`

	Files        []File        `json:"files,omitempty" nullable:"false" doc:"Files in its working directory that the code created or changed. GET /v1/jobs/{id}/files/{path} has their content."`
	FilesDropped *FilesDropped `json:"filesDropped,omitempty" doc:"Present when files were not kept."`
}

// LimitName is a limit at which executed code is ended.
type LimitName string

// The limits.
const (
	LimitMemory  LimitName = "memory"
	LimitCPU     LimitName = "cpu"
	LimitTimeout LimitName = "timeout"
)

// Error is an uncaught exception of the executed code.
type Error struct {
	Name      string `json:"name" doc:"Class of the exception, e.g. ValueError."`
	Value     string `json:"value" doc:"Its message."`
	Traceback string `json:"traceback" doc:"Its traceback, with the frames of the executed code only."`
	Hint      string `json:"hint,omitempty" doc:"A remedy, if one is known: the package that probably has a missing module."`
}

// Value is an object that executed code showed, in all the forms that it has.
type Value struct {
	Main bool `json:"main" doc:"It is the value of the last expression."`
	// Data is JSON that is not nested deeply: strings, except for JSON types.
	Data     map[string]json.RawMessage `json:"data" doc:"Its forms by MIME type. text/plain is what repr() gives. A string; base64 where the type is of bytes; any JSON where the type is application/json or ends in +json."`
	Metadata map[string]json.RawMessage `json:"metadata,omitempty" doc:"Further properties of forms, by MIME type: the width of an image, for example."`
	Omitted  map[string]int64           `json:"omitted,omitempty" doc:"Forms for which there was no room, with their sizes in bytes."`
	Reduced  map[string]int64           `json:"reduced,omitempty" doc:"Pictures that were made smaller to find room, with their sizes before, in bytes."`
	// Truncated is nil if application/json has the whole table.
	Truncated *Table `json:"truncated,omitempty" doc:"The part of a data frame that application/json has. Absent if it has all of it."`
	// Errors has the methods that failed, such as _repr_html_, with exception and message.
	Errors    map[string]string `json:"errors,omitempty" doc:"Failures while the forms were made, such as _repr_html_, with the exception and its message."`
	DisplayID string            `json:"displayId,omitempty" doc:"The id that the code gave to the display, if it gave one. A later value with the same id and update takes its place."`
	Update    bool              `json:"update,omitempty" doc:"It takes the place of the value that was shown with the same displayId before. In a result: by an earlier execution of the session."`
}

// Table describes the part of a table that is present.
type Table struct {
	Rows    *Part `json:"rows,omitempty" doc:"Present if rows are missing."`
	Columns *Part `json:"columns,omitempty" doc:"Present if columns are missing."`
}

// Part is the number of shown ones, and of all.
type Part struct {
	Shown int64 `json:"shown" doc:"How many are there, from the first on."`
	Total int64 `json:"total" doc:"How many there would be."`
}

// Truncated counts the bytes that an output budget dropped.
type Truncated struct {
	Stdout int64 `json:"stdout" doc:"Bytes of standard output that were dropped."`
	Stderr int64 `json:"stderr" doc:"Bytes of standard error that were dropped."`
}

// Of returns the count of a stream by its name.
func (t *Truncated) Of(stream string) int64 {
	switch {
	case t == nil:
		return 0
	case stream == "stdout":
		return t.Stdout
	}
	return t.Stderr
}

// Failure is the reason why Kaa could not carry a job out.
type Failure struct {
	Code    FailureCode `json:"code" doc:"Stable name of the reason."`
	Message string      `json:"message" doc:"The failure, for people."`
	Reason  EndReason   `json:"reason,omitempty" doc:"With session_ended: why the session has ended."`
	// Bound is the bound that is reached, if there is one, of a refused operation on a session.
	Bound *InUse `json:"-"`
}

// FailureCode names a reason for which Kaa fails or cancels a job.
type FailureCode string

// The failure codes.
const (
	// FailRunnerLost: the runner died during the last allowed attempt.
	FailRunnerLost FailureCode = "runner_lost"
	// FailDrained: the runner was shut down before the code ended, and no attempt is left.
	FailDrained FailureCode = "drained"
	// FailStart: no interpreter could be started.
	FailStart FailureCode = "start_failed"
	// FailNoRuntime: the runner that took the job does not have its runtime.
	FailNoRuntime FailureCode = "runtime_missing"
	// FailNoNetwork: the runner that took the job lets no code reach the network.
	FailNoNetwork FailureCode = "network_unavailable"
	// FailPackages: no package of the index meets the requirements, or they contradict each other.
	FailPackages FailureCode = "packages_unresolved"
	// FailPackageBlocked: a package of the set is one that this Kaa does not install.
	FailPackageBlocked FailureCode = "package_not_allowed"
	// FailPackageWheel: a package has no wheel for the Python and the machine.
	FailPackageWheel FailureCode = "package_without_wheel"
	// FailPackageHash: the index sent another file than it announced.
	FailPackageHash FailureCode = "package_hash_mismatch"
	// FailPackagesTooLarge: the set is larger than it may be.
	FailPackagesTooLarge FailureCode = "packages_too_large"
	// FailPackagesLate: the installation took longer than it may take.
	FailPackagesLate FailureCode = "packages_timeout"
	// FailPackageIndex: the index does not answer, or does not let this Kaa in.
	FailPackageIndex FailureCode = "package_index_unavailable"
	// FailPackagesDisk: the runner has no room for the set.
	FailPackagesDisk FailureCode = "packages_disk_full"
	// FailNoPackages: the runner installs no packages.
	FailNoPackages FailureCode = "packages_unavailable"
	// FailFiles: the files that came with the job could not be put in place.
	FailFiles FailureCode = "files_unavailable"
	// FailWorker: the interpreter's supervisor broke, through no fault of the code.
	FailWorker FailureCode = "worker_failed"
	// FailCancelled: the owner cancelled the job before it had started.
	FailCancelled FailureCode = "cancelled"
	// FailQueueTimeout: no runner took a synchronous job in time, so it was cancelled.
	FailQueueTimeout FailureCode = "queue_timeout"
	// FailWaiterLost: the API process whose caller waited for a synchronous job was lost.
	FailWaiterLost FailureCode = "waiter_lost"
	// FailSessionEnded: the session ended before the execution did, or before it began.
	FailSessionEnded FailureCode = "session_ended"
	// FailRefused: the present state of a session does not allow an operation.
	FailRefused FailureCode = "refused"
	// FailNoFile: the session has no such file.
	FailNoFile FailureCode = "file_not_found"
	// FailFileExists: there is a file, or a directory, of that name.
	FailFileExists FailureCode = "file_exists"
	// FailNotDirectory: the path, or a part of it, is no directory.
	FailNotDirectory FailureCode = "not_a_directory"
	// FailIsDirectory: the path is a directory, and the operation is for files.
	FailIsDirectory FailureCode = "is_a_directory"
	// FailNotEmpty: the directory is not empty.
	FailNotEmpty FailureCode = "directory_not_empty"
	// FailFileDenied: the code of the session may not do that, so its caller may not.
	FailFileDenied FailureCode = "file_access_denied"
	// FailDisk: the session has no room for the files of an operation.
	FailDisk FailureCode = "disk_full"
	// FailStoreFull: the code has ended, and there was no room to keep its result.
	FailStoreFull FailureCode = "result_not_kept"
	// FailFilesFull: the files of the API key have reached their limit of bytes.
	FailFilesFull FailureCode = "key_file_storage_full"
	// FailAllFilesFull: the files of all API keys have reached theirs.
	FailAllFilesFull FailureCode = "file_storage_full"
	// FailBytesFull: the records of the API key have reached their limit of bytes.
	FailBytesFull FailureCode = "key_storage_full"
	// FailTooLarge: a file of a session is larger than the limit for downloads.
	FailTooLarge FailureCode = "file_too_large"
	// FailTooManySessions: the owner would exceed its limit of sessions.
	FailTooManySessions FailureCode = "too_many_sessions"
	// FailTooManyPaused: the owner would exceed its limit of paused sessions.
	FailTooManyPaused FailureCode = "too_many_paused"
	// FailSessionMemory and FailSessionDisk: the owner's sessions could take too much.
	FailSessionMemory FailureCode = "key_session_memory_full"
	FailSessionDisk   FailureCode = "key_session_disk_full"
	// FailSessionsFull: the runner has no room for that many more sessions.
	FailSessionsFull FailureCode = "sessions_full"
	// FailNoContext: the session has no such context, or has it no more.
	FailNoContext FailureCode = "context_not_found"
	// FailTooManyContexts: the session has as many contexts as it may have.
	FailTooManyContexts FailureCode = "too_many_contexts"
	// FailNoCheckpoint: the session has no such checkpoint.
	FailNoCheckpoint FailureCode = "checkpoint_not_found"
)
