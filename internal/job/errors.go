package job

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinel errors for callers to branch on. Wrap them with %w and the operation.
var (
	// ErrNotFound: the job was never known, or is forgotten.
	ErrNotFound = errors.New("job not found")
	// ErrGone: the job existed and its result has expired.
	ErrGone = errors.New("job has expired")
	// ErrInvalid: the request has a field or value that is not allowed.
	ErrInvalid = errors.New("invalid request")
	// ErrFinished: the job is in a terminal state, so it cannot change any more.
	ErrFinished = errors.New("job is already finished")
	// ErrUnfinished: the job has not ended, so its record cannot be deleted.
	ErrUnfinished = errors.New("job is not finished")
	// ErrStale: the claim is not the job's current one, or the job is not claimable.
	ErrStale = errors.New("stale claim")
	// ErrHeld: the job may not be claimed now, since its caller has its maximum of executions.
	ErrHeld = errors.New("job is held")
	// ErrPaused: no job of the queue may be claimed until an operator resumes it.
	ErrPaused = errors.New("queue is paused")
	// ErrNotStarted: a worker ended before it had read the code.
	ErrNotStarted = errors.New("worker ended before the code had started")
	// ErrNoWorker: no interpreter can be started on this runner now. StartError says why.
	ErrNoWorker = errors.New("no Python interpreter can be started")
	// ErrUnregistered: the runner's heartbeat has lapsed, so it may not claim.
	ErrUnregistered = errors.New("runner is not registered")
	// ErrNoNetwork: the runner lets no code reach the network.
	ErrNoNetwork = errors.New("this runner lets no code reach the network")
	// ErrNoRuntime: the runner does not have the requested runtime.
	ErrNoRuntime = errors.New("no such runtime")
	// ErrNoFile: the job has no such file, or no longer has it.
	ErrNoFile = errors.New("job has no such file")
	// ErrIdempotencyMismatch: the idempotency key was used for a different request.
	ErrIdempotencyMismatch = errors.New("idempotency key was used with a different request")
	// ErrReplayGone: the idempotency key made a job whose record has expired.
	ErrReplayGone = errors.New("the job of this idempotency key has expired")
	// ErrNoSession: the session was never known to this caller, or is forgotten.
	ErrNoSession = errors.New("session not found")
	// ErrSessionEnded: the session has ended. A SessionEndedError says why.
	ErrSessionEnded = errors.New("session has ended")
	// ErrSessionPaused: the session is paused, and only its resume is accepted.
	ErrSessionPaused = errors.New("session is paused")
	// ErrNoInput: the execution does not wait for that input, or no longer does.
	ErrNoInput = errors.New("nothing waits for this input")
	// ErrNoRunner: no live runner offers the requested runtime or sessions.
	ErrNoRunner = errors.New("no runner can take it")
	// ErrTooManySessions: the limit of sessions is reached. A SessionsFullError has the numbers.
	ErrTooManySessions = errors.New("too many sessions")
	// ErrTooManyLanes: a session does as much at once as it may. A LanesError has the numbers.
	ErrTooManyLanes = errors.New("the session does too much at once")
	// ErrOldRunner: the session's runner is of a release that does not know how to do this.
	ErrOldRunner = errors.New("the session's runner is of an older release")
	// ErrFull: the limit of waiting jobs is reached. A FullError has the numbers.
	ErrFull = errors.New("too many jobs wait")
	// ErrStoreFull: Redis has no memory left for more. Expiring results make room again.
	ErrStoreFull = errors.New("the job store is full")
	// ErrUnavailable: a part that Kaa needs, such as Redis, does not answer. Retry later.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// StartError says why no interpreter can be started. It is an ErrNoWorker.
type StartError struct {
	// Part names the failed part in a word or two that callers may see: a layer of the sandbox,
	// the interpreter, or the exhausted resource of the machine.
	Part string
	Err  error
}

func (e *StartError) Error() string { return ErrNoWorker.Error() + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Is makes every StartError an ErrNoWorker.
func (e *StartError) Is(target error) bool { return target == ErrNoWorker }

// FieldError is an error in one field of a request, with the change that it needs.
type FieldError struct {
	Field   string // as the caller wrote it, e.g. "envs.PATH"
	Message string
}

// ValidationError lists all errors of a request. It is an ErrInvalid.
type ValidationError struct {
	Fields []FieldError
}

func (e *ValidationError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + ": " + f.Message
	}
	return strings.Join(parts, "; ")
}

// Is makes every ValidationError an ErrInvalid.
func (e *ValidationError) Is(target error) bool { return target == ErrInvalid }

// FullError names the full queue or share. It is an ErrFull.
type FullError struct {
	Queue string // the full queue; empty if the limit of one caller is reached
	Bytes bool   // the limit is that of the bytes that one caller may store
	OfKey bool   // the limit is that of the caller's key
	Depth int64  // jobs that wait, or bytes
	Limit int64
}

func (e *FullError) Error() string {
	if e.Bytes {
		return fmt.Sprintf("the records of the caller take %d bytes, the limit is %d", e.Depth, e.Limit)
	}
	if e.Queue == "" {
		return fmt.Sprintf("%d jobs of the caller wait, the limit is %d", e.Depth, e.Limit)
	}
	return fmt.Sprintf("%d jobs wait on queue %s, the limit is %d", e.Depth, e.Queue, e.Limit)
}

// Is makes every FullError an ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// LanesError has the limit of lanes of a session that have something to do. It is an ErrTooManyLanes.
type LanesError struct{ Busy, Limit int64 }

func (e *LanesError) Error() string {
	return fmt.Sprintf("the session does %d things at once, the limit is %d", e.Busy, e.Limit)
}

// Is makes every LanesError an ErrTooManyLanes.
func (e *LanesError) Is(target error) bool { return target == ErrTooManyLanes }

// FilesFullError means that there is no room for contents of files.
type FilesFullError struct {
	All   bool  // the files of all callers fill it; otherwise those of this one have reached their limit
	Held  int64 // bytes in use
	Limit int64
}

func (e *FilesFullError) Error() string {
	if e.All {
		return "the files of all API keys that are kept take as much as they may"
	}
	return fmt.Sprintf("the files of this API key that are kept take %d bytes, the limit is %d", e.Held, e.Limit)
}

// Code is the code that callers get.
func (e *FilesFullError) Code() FailureCode {
	if e.All {
		return FailAllFilesFull
	}
	return FailFilesFull
}

// Advice is the remedy for a caller.
func (e *FilesFullError) Advice() string {
	if e.All {
		return "try again when jobs with files have expired"
	}
	return "delete jobs with files that are not needed any more (DELETE /v1/jobs/{id}/record), or ask for a shorter resultTtl next time"
}

// SessionEndedError has the reason for the end of a session. It is an ErrSessionEnded.
type SessionEndedError struct {
	ID     string
	Volume string // that has its files; empty if they are gone
	SessionEnd
}

func (e *SessionEndedError) Error() string {
	return "session has ended (" + string(e.Reason) + "): " + e.Message
}

// Is makes every SessionEndedError an ErrSessionEnded.
func (e *SessionEndedError) Is(target error) bool { return target == ErrSessionEnded }

// NamedError means that the caller has a live session of the name that was asked for.
type NamedError struct{ ID string }

func (e *NamedError) Error() string { return "session " + e.ID + " has this name" }

// SessionsFullError has the limit of sessions. It is an ErrTooManySessions.
type SessionsFullError struct {
	OfCaller bool  // the caller has too many; otherwise no runner has room
	OfKey    bool  // by the limit of its key
	Used     int64 // by the caller
	Limit    int64 // of the caller
}

func (e *SessionsFullError) Error() string {
	if e.OfCaller {
		return fmt.Sprintf("the caller has as many sessions as it may: %d", e.Limit)
	}
	return "no runner has room for another session"
}

// Is makes every SessionsFullError an ErrTooManySessions.
func (e *SessionsFullError) Is(target error) bool { return target == ErrTooManySessions }

// SessionRoomError says that the live sessions of a caller could take too much with another one.
type SessionRoomError struct {
	Disk          bool // else memory
	Used, Allowed int64
	More          int64 // that was asked for
	OfKey         bool  // by the limit of its key
}

func (e *SessionRoomError) Error() string {
	of, limit := "memory", "memoryBytes"
	if e.Disk {
		of, limit = "disk", "diskBytes"
	}
	return fmt.Sprintf("the sessions of this API key may take %d bytes of %s together, by their limits.%s; they may take %d already, and %d more were asked for", e.Allowed, of, limit, e.Used, e.More)
}

// KeyLimit is the name of the limit of the key; empty if the limit is that of every key.
func (e *SessionRoomError) KeyLimit() string {
	switch {
	case !e.OfKey:
		return ""
	case e.Disk:
		return "sessionDiskBytes"
	}
	return "sessionMemoryBytes"
}

// Code is the code of a failure with this reason.
func (e *SessionRoomError) Code() FailureCode {
	if e.Disk {
		return FailSessionDisk
	}
	return FailSessionMemory
}

// RefusedError is the reason why the present state of a session does not allow an operation.
type RefusedError struct {
	Code    FailureCode // empty means FailRefused
	Message string
	Bound   *InUse // that is reached, if there is one
	Passing bool   // the reason may be over in a moment
}

func (e *RefusedError) Error() string { return e.Message }
