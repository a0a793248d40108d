package job

import (
	"errors"
	"fmt"
	"strings"
)

// The conditions callers branch on. Wrap them with %w and the operation.
var (
	// ErrNotFound: no such job was ever known, or it is forgotten.
	ErrNotFound = errors.New("job not found")
	// ErrGone: the job existed and its result has expired.
	ErrGone = errors.New("job has expired")
	// ErrInvalid: the request asks for something that it may not.
	ErrInvalid = errors.New("invalid request")
	// ErrFinished: the job is in a terminal state, so it cannot change any more.
	ErrFinished = errors.New("job is already finished")
	// ErrUnfinished: the job has not ended, so its record cannot be deleted.
	ErrUnfinished = errors.New("job is not finished")
	// ErrStale: the claim is not the job's current one, or the job is not claimable.
	ErrStale = errors.New("stale claim")
	// ErrHeld: the job is not to be claimed now, since its caller executes as much as it may.
	ErrHeld = errors.New("job is held")
	// ErrNotStarted: a worker ended before it had read the code.
	ErrNotStarted = errors.New("worker ended before the code had started")
	// ErrNoWorker: no interpreter can be started on this runner now. StartError says why.
	ErrNoWorker = errors.New("no Python interpreter can be started")
	// ErrUnregistered: the runner's heartbeat has lapsed, so it may not claim.
	ErrUnregistered = errors.New("runner is not registered")
	// ErrNoRuntime: the runner does not have the runtime that is asked for.
	ErrNoRuntime = errors.New("no such runtime")
	// ErrNoFile: the job has no such file, or not any more.
	ErrNoFile = errors.New("job has no such file")
	// ErrIdempotencyMismatch: the idempotency key was used for a different request.
	ErrIdempotencyMismatch = errors.New("idempotency key was used with a different request")
	// ErrReplayGone: the idempotency key made a job whose record has expired.
	ErrReplayGone = errors.New("the job of this idempotency key has expired")
	// ErrNoSession: no such session was ever known to this caller, or it is forgotten.
	ErrNoSession = errors.New("session not found")
	// ErrSessionEnded: the session has ended. A SessionEndedError says why.
	ErrSessionEnded = errors.New("session has ended")
	// ErrNoInput: the execution does not wait for that input, or not any more.
	ErrNoInput = errors.New("nothing waits for this input")
	// ErrNoRunner: no live runner offers what is asked for.
	ErrNoRunner = errors.New("no runner can take it")
	// ErrTooManySessions: there are as many sessions as there may be. A
	// SessionsFullError has the numbers.
	ErrTooManySessions = errors.New("too many sessions")
	// ErrFull: as many jobs wait already as may. A FullError has the numbers.
	ErrFull = errors.New("too many jobs wait")
	// ErrStoreFull: Redis has no memory left for more. It is temporary where results expire.
	ErrStoreFull = errors.New("the job store is full")
	// ErrUnavailable: a part that Kaa needs (Redis) does not answer. Retry later.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// StartError says why no interpreter can be started. It is an ErrNoWorker.
type StartError struct {
	// Part is what failed, in a word or two that callers may see: a layer of the sandbox, the
	// interpreter, or what the machine has too little of.
	Part string
	Err  error
}

func (e *StartError) Error() string { return ErrNoWorker.Error() + ": " + e.Err.Error() }

// Unwrap returns what went wrong.
func (e *StartError) Unwrap() error { return e.Err }

// Is makes every StartError an ErrNoWorker.
func (e *StartError) Is(target error) bool { return target == ErrNoWorker }

// FieldError says what is wrong with one field of a request and what to change.
type FieldError struct {
	Field   string // as the caller wrote it, e.g. "envs.PATH"
	Message string
}

// ValidationError lists everything that is wrong with a request. It is an ErrInvalid.
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

// FullError says what is full. It is an ErrFull.
type FullError struct {
	Queue string // that is full; empty if it is what one caller may have waiting
	Bytes bool   // it is the bytes that one caller may have kept
	Depth int64  // jobs that wait, or bytes
	Limit int64
}

func (e *FullError) Error() string {
	if e.Bytes {
		return fmt.Sprintf("jobs and results of the caller take %d bytes, the limit is %d", e.Depth, e.Limit)
	}
	if e.Queue == "" {
		return fmt.Sprintf("%d jobs of the caller wait, the limit is %d", e.Depth, e.Limit)
	}
	return fmt.Sprintf("%d jobs wait on queue %s, the limit is %d", e.Depth, e.Queue, e.Limit)
}

// Is makes every FullError an ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// FilesFullError says that there is no room to keep contents of files.
type FilesFullError struct {
	All   bool  // the files of all callers fill it; else those of this one take what they may
	Held  int64 // bytes that they take
	Limit int64
}

func (e *FilesFullError) Error() string {
	if e.All {
		return "the files of all API keys that are kept take as much as they may"
	}
	return fmt.Sprintf("the files of this API key that are kept take %d bytes, the limit is %d", e.Held, e.Limit)
}

// Code is what callers are told.
func (e *FilesFullError) Code() FailureCode {
	if e.All {
		return FailAllFilesFull
	}
	return FailFilesFull
}

// Advice says what a caller can do.
func (e *FilesFullError) Advice() string {
	if e.All {
		return "try again when jobs with files have expired"
	}
	return "delete jobs with files that are not needed any more (DELETE /v1/jobs/{id}/record), or ask for a shorter resultTtl next time"
}

// SessionEndedError says why a session takes no more. It is an ErrSessionEnded.
type SessionEndedError struct {
	ID string
	SessionEnd
}

func (e *SessionEndedError) Error() string {
	return "session has ended (" + string(e.Reason) + "): " + e.Message
}

// Is makes every SessionEndedError an ErrSessionEnded.
func (e *SessionEndedError) Is(target error) bool { return target == ErrSessionEnded }

// SessionsFullError says how many sessions there may be. It is an ErrTooManySessions.
type SessionsFullError struct {
	OfCaller bool  // its own sessions are too many; else no runner has room
	Limit    int64 // of the caller's
}

func (e *SessionsFullError) Error() string {
	if e.OfCaller {
		return fmt.Sprintf("the caller has as many sessions as it may: %d", e.Limit)
	}
	return "no runner has room for another session"
}

// Is makes every SessionsFullError an ErrTooManySessions.
func (e *SessionsFullError) Is(target error) bool { return target == ErrTooManySessions }

// RefusedError says why an operation on a session cannot be carried out as it is now.
type RefusedError struct {
	Code    FailureCode // FailRefused if it is empty
	Message string
}

func (e *RefusedError) Error() string { return e.Message }
