package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Errors of a caller's request besides those of package job.
var (
	// ErrNoRunner: no runner takes jobs of the queue of a synchronous job, so it was cancelled.
	ErrNoRunner = errors.New("no runner takes jobs of the queue")
	// ErrNoSlot: no runner had a free slot for a synchronous job in time.
	ErrNoSlot = errors.New("no runner had a free slot for the job in time")
	// ErrPaused: the queue of a synchronous job is paused, and was not resumed in time.
	ErrPaused = errors.New("the queue of the job is paused")
	// ErrKeyBusy: other jobs of the caller kept a synchronous job waiting for too long.
	ErrKeyBusy = errors.New("other jobs of the caller kept the job waiting for too long")
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
	// ErrOver: the last event has been returned. It is not io.EOF, which Redis's absence can be.
	ErrOver = errors.New("the job's last event has been sent")
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

// The subjects of a BusyError.
const (
	ScarceWaits    Scarce = "waits"    // calls, polls and streams that wait at once
	ScarceSockets  Scarce = "sockets"  // WebSockets of one session at this process
	ScarceRequests Scarce = "requests" // requests that are handled at once
	ScarceBytes    Scarce = "bytes"    // bytes of request bodies
)

// BusyError says that there are as many of something as there may be, of all callers or of this one.
type BusyError struct {
	Of           Scarce
	InUse, Limit int64
}

func (e *BusyError) Error() string { return "too many " + string(e.Of) }

// Refusals of the door, which each dialect words as it words the others.
var (
	// ErrUnauthorized: the request brings neither an API key that is known nor a valid token.
	ErrUnauthorized = errors.New("no valid API key")
	// ErrOrigin: a page of another site sends the request.
	ErrOrigin = errors.New("pages of this origin may not do this")
	// ErrHost: the name in the Host header is not one that this process answers to.
	ErrHost = errors.New("unknown host")
)

// Faults of a key. They come with ErrUnauthorized.
var (
	ErrDamagedKey = access.ErrDamaged
	ErrExpiredKey = access.ErrExpired
	errRevokedKey = access.ErrRevoked
)

// TokenError says why a token of the identity provider is not accepted. It comes with ErrUnauthorized.
type TokenError = access.TokenError

// ErrProvider says that a token cannot be judged, since the identity provider does not answer.
var ErrProvider = access.ErrProvider

// OfKey returns ErrUnauthorized, with the fault of the key, for a call that ended because the caller's key is no
// longer valid; other errors as they are. The caller of such a request has not gone away.
func OfKey(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if errors.Is(err, context.Canceled) && (errors.Is(cause, errRevokedKey) || errors.Is(cause, ErrExpiredKey)) {
		return fmt.Errorf("%w: %w", ErrUnauthorized, cause)
	}
	return err
}

// ErrTenant says that the tenant that an operator wants to act for can have no such name.
var ErrTenant = errors.New("invalid name of a tenant")

// ScopeError says that the caller's key lacks a scope.
type ScopeError struct{ Need access.Scope }

func (e *ScopeError) Error() string { return "the API key lacks the scope " + string(e.Need) }

// RateError says that the caller sends more requests than it may.
type RateError struct {
	After time.Duration
	OfKey bool // than its key may, and not than each caller
	Burst int  // requests that it may send at once
}

// TooFast is the RateError of a rate that allows no request now.
func TooFast(r job.Rate) *RateError {
	return &RateError{After: r.RetryAfter, OfKey: r.OfKey, Burst: r.Limit}
}

func (e *RateError) Error() string { return "too many requests in too short a time" }

// BodyFault names what is wrong with the body of a request.
type BodyFault string

// The faults of bodies.
const (
	BodyTooLarge BodyFault = "too large"   // than Limit bytes
	BodySlow     BodyFault = "too slow"    // nothing for Pause, or less than BytesPerSecond
	BodyCut      BodyFault = "ended early" // before as many bytes as were announced
	BodyEncoded  BodyFault = "encoded"     // with a Content-Encoding
	BodyNotText  BodyFault = "not UTF-8"   // from Offset on
	BodyNotGzip  BodyFault = "not gzip"    // although its Content-Encoding says so
)

// BodyError says that the body of a request cannot be taken.
type BodyError struct {
	Fault          BodyFault
	Limit          int64
	Pause          time.Duration
	BytesPerSecond int
	Offset         int
	Gzip           bool // gzip would be taken
}

func (e *BodyError) Error() string { return "the request body is " + string(e.Fault) }

// Body is a way to pass the body of a request on to a dialect.
type Body int

// The ways of bodies.
const (
	BodyText         Body = iota // whole, and valid UTF-8
	BodyBinary                   // whole
	BodyStreamed                 // as it comes
	BodyLong                     // as it comes, perhaps compressed by gzip
	BodyFile                     // as BodyStreamed, perhaps compressed by gzip
	BodyTextPacked               // as BodyText, perhaps compressed by gzip
	BodyBinaryPacked             // as BodyBinary, perhaps compressed by gzip
	BodyPassed                   // as BodyStreamed, compressed as it may be; the answer may begin before its end
)
