package service

import (
	"errors"

	"github.com/kaa-run/kaa/internal/job"
)

// What a caller can run into besides the errors of package job.
var (
	// ErrNoRunner: no runner took a synchronous job in time, so it was cancelled.
	ErrNoRunner = errors.New("no runner took the job in time")
	// ErrSessionBusy: what was accepted before took a session longer than a synchronous call
	// waits.
	ErrSessionBusy = errors.New("the session was busy for too long")
	// ErrFileStore: the place where blobs are does not answer.
	ErrFileStore = errors.New("the store of files does not answer")
	// ErrNotEnded: the files of a job are there when it has ended.
	ErrNotEnded = errors.New("the job has not ended")
	// ErrNotOwner: only its owner may delete a job that others may see.
	ErrNotOwner = errors.New("the job belongs to another caller")
	// ErrStarting: the process cannot do anything yet.
	ErrStarting = errors.New("the process is starting")
	// ErrEnded: there is nothing after the event that the caller has already.
	ErrEnded = errors.New("the job has ended and all its events are known")
	// ErrOver: the last event has been told. It is not io.EOF, which Redis's absence can be.
	ErrOver = errors.New("the job's last event has been told")
	// ErrQuiet: nothing has happened for as long as the caller wanted to wait.
	ErrQuiet = errors.New("nothing has happened")
	// ErrStopping: this process is about to stop; another can go on.
	ErrStopping = errors.New("the process is being stopped")
)

// JobError is an error about a job that was accepted.
type JobError struct {
	ID  string
	Err error
}

func (e *JobError) Error() string { return "job " + e.ID + ": " + e.Err.Error() }
func (e *JobError) Unwrap() error { return e.Err }

// EndError is a job that ended without a result for its synchronous caller.
type EndError struct{ Job job.Job }

func (e *EndError) Error() string {
	if e.Job.Failure != nil {
		return e.Job.Failure.Message
	}
	return "the job was " + string(e.Job.State)
}

// Scarce names something of which a process has so much and no more.
type Scarce string

// What a BusyError can be about.
const (
	ScarceWaits    Scarce = "waits"    // calls, polls and streams that wait at once
	ScarceSockets  Scarce = "sockets"  // WebSockets of one session at this process
	ScarceRequests Scarce = "requests" // requests that are handled at once
	ScarceBytes    Scarce = "bytes"    // bytes of request bodies
)

// BusyError: there are as many of something as there may be, of all callers or of this one.
type BusyError struct {
	Of           Scarce
	InUse, Limit int64
}

func (e *BusyError) Error() string { return "too many " + string(e.Of) }
