package app

import (
	"io"
	"net"
	"time"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/runner"
)

// Process has the connections of a process to its environment. Tests replace them.
type Process struct {
	Environ config.Environment
	Stdout  io.Writer
	Stderr  io.Writer // the log
	// Buckets opens a bucket of an S3-compatible store for files; nil if the binary has no
	// client for one.
	Buckets blob.Opener
	// Redis starts a Redis inside this process, with its files in dir. It returns the address and a
	// function that ends it. It is nil if the binary has no Redis. RunDev and RunFile use it if
	// KAA_REDIS_URL is not set.
	Redis func(dir string) (url string, stop func(), err error)
	// Ready, if not nil, is called once the process does its work, with the address at which it
	// answers HTTP, if any.
	Ready func(net.Addr)
	// Listening, if not nil, is called with the address as soon as the process answers liveness
	// checks.
	Listening func(net.Addr)
	// Hurry, once closed, shortens a drain: executions are interrupted and callers cut off at once.
	// Their ends are still written.
	Hurry <-chan struct{}
	// Dialects are protocols besides Kaa's own and those that the binaries have.
	Dialects []Dialect
	// Periods that are zero have the values that docs/operations.md promises.
	Periods Periods
}

// Periods are the times that decide how soon processes notice the end of another process, and how soon they end.
type Periods struct {
	runner.Periods
	// Lease is the time after which a runner without a heartbeat, or a silent API, counts as dead:
	// 8 s, and with an embedded Redis 5 minutes.
	Lease time.Duration
	// Schema is the time between two looks at the version of the records: 30 s.
	Schema time.Duration
	// Schedules is the longest time between two looks for schedules that are due: until the next whole minute.
	Schedules time.Duration
	// Interpreters is how long the interpreters may take to end when a runner stops: 5 s.
	Interpreters time.Duration
	// Samples is the time between two additions to the samples of the fleet: 15 s.
	Samples time.Duration
}

func (p Process) ready(a net.Addr) {
	if p.Ready != nil {
		p.Ready(a)
	}
}

func (p Process) listening(a net.Addr) {
	if p.Listening != nil && a != nil {
		p.Listening(a)
	}
}
