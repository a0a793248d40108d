package job

import (
	"errors"
	"time"
)

// Spent is what an execution took of its runner.
type Spent struct {
	Run, CPU time.Duration
	// MemoryKiBMs is the most memory that it held, in KiB, times the milliseconds that it ran.
	MemoryKiBMs int64
}

// Spent returns what the execution of a result took.
func (r *Result) Spent() Spent {
	ms := func(n float64) time.Duration { return time.Duration(max(0, n) * float64(time.Millisecond)) }
	return Spent{
		Run: ms(r.DurationMs), CPU: ms(r.CPUMs),
		MemoryKiBMs: int64(float64(max(0, r.PeakMemoryBytes)) / (1 << 10) * max(0, r.DurationMs)),
	}
}

// Usage is what the executions and sessions of an owner took on a day. A job counts once, at its end.
type Usage struct {
	Day   time.Time // its beginning, in UTC
	Owner string
	// Executions are the jobs that have begun and ended, however they ended.
	Executions int64
	Run, CPU   time.Duration
	// MemoryKiBMs is the sum of Spent.MemoryKiBMs.
	MemoryKiBMs int64
	// BytesIn are those of requests and of their files, BytesOut those of results and of the files
	// that code left.
	BytesIn, BytesOut int64
	// Sessions are those that have ended. SessionTime is the part of their lives on this day.
	Sessions    int64
	SessionTime time.Duration
}

// TenantSum is what a tenant, or several together, took since the figures began, with the bytes that are stored now.
type TenantSum struct {
	Tenant string // empty for all that have no sum of their own
	Usage
	Bytes, Files int64 // of records, and of files
}

// UsageFilter chooses figures of usage.
type UsageFilter struct {
	From, To time.Time // the first and the last day
	Owner    string    // whose; empty for a caller without a key, unless it is All
	All      bool      // those of all owners
	Cursor   string    // of the page before; empty for the first
	Limit    int
}

// ErrCursor says that a cursor is not of a page before.
var ErrCursor = errors.New("not a cursor of this list")

// MemoryGiBSeconds is MemoryKiBMs in GiB times seconds.
func (u *Usage) MemoryGiBSeconds() float64 { return float64(u.MemoryKiBMs) / (1 << 20) / 1000 }
