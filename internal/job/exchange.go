package job

import (
	"slices"
	"time"
)

// Runner is a runner's report of itself with every heartbeat.
type Runner struct {
	ID          string    `json:"id" doc:"Id of the runner process; new at every start."`
	Host        string    `json:"host" doc:"Name of the machine it runs on."`
	PID         int       `json:"pid" doc:"Its process id there."`
	Version     string    `json:"version" doc:"Version of Kaa."`
	StartedAt   time.Time `json:"startedAt" doc:"When it started."`
	Concurrency int       `json:"concurrency" doc:"Executions it runs at once, at most."`
	Active      int       `json:"active" doc:"Executions it ran when it last reported."`
	Queues      []string  `json:"queues" doc:"Queues it takes jobs from."`
	Python      string    `json:"python" doc:"Version of the Python interpreter of its default runtime."`
	Runtimes    []Runtime `json:"runtimes" nullable:"false" doc:"Runtimes it offers, the default first."`
	Sandbox     string    `json:"sandbox" enum:"strict,basic,none" doc:"Isolation level in force."`
	Layers      []Layer   `json:"sandboxLayers" nullable:"false" doc:"Layers of the sandbox, and which of them hold there."`
	// MemoryControl names the means that keep the memory limit of an execution.
	MemoryControl string `json:"memoryControl" enum:"cgroup2,cgroup1,watchdog,none" doc:"Mechanism that keeps executions within their memory limit: control groups (cgroup2, cgroup1), a watchdog that looks several times a second, or nothing."`
	// Sessions is the number of sessions that the runner serves now, MaxSessions its limit.
	Sessions    int `json:"sessions" doc:"Sessions that have an interpreter there."`
	MaxSessions int `json:"maxSessions" doc:"Sessions it has room for."`
	// Parked and the memory are of the last heartbeat; a runner of an older release does not report them.
	Parked      int   `json:"parked" doc:"Interpreters that are ready for an execution."`
	MemoryBytes int64 `json:"memoryBytes,omitempty" doc:"Memory in use: of the control group that has the runner, or of the machine if no limit is lower than its memory. Absent where it cannot be read."`
	MemoryLimit int64 `json:"memoryLimitBytes,omitempty" doc:"Memory that there is, of the control group or the machine."`
	// Volumes: an older runner does not know of persistent files.
	Volumes bool `json:"volumes,omitempty" doc:"It can keep the files of sessions (persist). Absent for runners of releases that could not."`
	// Egress: it lets code reach destinations.
	Egress bool `json:"egress,omitempty" doc:"It lets code reach the destinations of network, within its own KAA_EGRESS. That needs the sandbox level strict."`
	// Lanes: an older runner executes all jobs of a session in one order.
	Lanes    bool   `json:"lanes,omitempty" doc:"It can run jobs of one session at the same time. Absent for runners of releases that could not."`
	Draining bool   `json:"draining" doc:"It takes no more jobs: it is about to stop, or drained is true."`
	Drained  bool   `json:"drained,omitempty" doc:"An operator lets it take nothing new (POST /v1/runners/{id}/drain), until the operator resumes it."`
	Sick     string `json:"sick,omitempty" doc:"Why it can start no interpreter now. It takes no jobs until it can. Absent if it can."`
	NoFiles  bool   `json:"noFiles,omitempty" doc:"It could not read files that came with jobs a moment ago. Such jobs go to other runners, if these can."`
}

// Takes reports whether a runner takes jobs of a runtime; empty is its default one. It may be with a set of packages.
func (r *Runner) Takes(runtime string) bool {
	runtime, _ = SplitPackages(runtime)
	i := r.runtime(runtime)
	return i >= 0 && !r.Draining && !r.Drained && r.Sick == "" && r.Runtimes[i].Sick == ""
}

// Offers reports whether a runner has a runtime; empty is its default one.
func (r *Runner) Offers(runtime string) bool { return r.runtime(runtime) >= 0 }

func (r *Runner) runtime(name string) int {
	return slices.IndexFunc(r.Runtimes, func(rt Runtime) bool { return rt.Name == name || name == "" && rt.Default })
}

// Candidates are the runners that offer a runtime and take sessions.
func Candidates(runners []Runner, runtime string) []Candidate {
	var all []Candidate
	for i := range runners {
		if r := &runners[i]; r.Takes(runtime) && r.MaxSessions > 0 {
			all = append(all, Candidate{Runner: r.ID, Most: r.MaxSessions, Runtime: r.Runtimes[r.runtime(runtime)].Name})
		}
	}
	return all
}

// Layer is one layer of a runner's sandbox.
type Layer struct {
	Name   string `json:"name" doc:"Name of the layer."`
	Holds  bool   `json:"holds" doc:"Whether it is in force."`
	Detail string `json:"detail,omitempty" doc:"How it holds, or why it does not."`
	Advice string `json:"advice,omitempty" doc:"The change after which it holds."`
}

// QueueStats counts the jobs of one queue.
type QueueStats struct {
	Name         string  `json:"name" doc:"Name of the queue."`
	Depth        int64   `json:"depth" doc:"Jobs that wait for a runner."`
	Active       int64   `json:"active" doc:"Jobs that runners execute now."`
	Scheduled    int64   `json:"scheduled" doc:"Jobs that are not due yet."`
	OldestAgeSec float64 `json:"oldestAge" doc:"Seconds for which the oldest waiting job has been ready to run; 0 when none waits."`
	// Paused and PausedAt are those of an operator's pause.
	Paused   bool       `json:"paused" doc:"No job of it begins until an operator resumes it."`
	PausedAt *time.Time `json:"pausedAt,omitempty" doc:"Since when it is paused."`
}

// TaskStats counts what asynq holds of a queue. A job that is held for its share, or not due yet, has
// no task.
type TaskStats struct {
	Queue     string  `json:"queue" doc:"Name of the queue."`
	Paused    bool    `json:"paused" doc:"Servers of asynq take no task of it."`
	Pending   int     `json:"pending" doc:"Tasks that wait for a runner."`
	Active    int     `json:"active" doc:"Tasks that runners have."`
	Scheduled int     `json:"scheduled" doc:"Tasks for a later time. Kaa makes none: delayed jobs wait in their records."`
	Retry     int     `json:"retry" doc:"Tasks that come again in a moment, since no code could be started."`
	Archived  int     `json:"archived" doc:"Tasks that asynq has given up. Kaa leaves none there for long."`
	Latency   float64 `json:"latency" doc:"Seconds for which the oldest pending task has waited; 0 when none waits."`
	Processed int     `json:"processed" doc:"Tasks that runners have finished so far."`
	Failed    int     `json:"failed" doc:"Those of them that asynq counts as failed."`
}

// Task is one attempt of a job on its way to a runner.
type Task struct {
	JobID   string
	Queue   string
	Attempt int // the attempt it is for
	// Timeout is the execution's. A runner gets zero here: its context has the deadline.
	Timeout time.Duration
	// Runtime is empty for the runner's default. The runner reads it before it claims the
	// job, because it takes a worker first.
	Runtime string
	// Passes is the number of tasks of this attempt that were skipped: its caller had its
	// maximum of executions.
	Passes int
}

// Task returns the task of the next attempt of a job.
func (j Job) Task() Task {
	return Task{JobID: j.ID, Queue: j.Queue, Attempt: j.Attempt + 1, Timeout: j.Timeout, Runtime: j.Runtime}
}

// Rescued is a job whose runner or waiting caller was lost.
type Rescued struct {
	JobID string
	// State: queued again, failed or cancelled. Running means that a cancel was requested.
	State State
	// Unattended: its caller's API process was lost, not its runner.
	Unattended bool
}

// NewJob is a job that is not recorded yet.
type NewJob struct {
	Job      Job // with its ID
	Spec     Spec
	Contents Contents // of Spec.Files
	// IdempotencyKey makes creation happen once per key and Scope (the caller's API key) while
	// the key is remembered. Fingerprint identifies the request: the same key with another one
	// is refused. All are empty for a request without a key.
	IdempotencyKey, Scope, Fingerprint string
	// Caller identifies the job's owner, and is no secret. Waiting jobs are counted by it.
	Caller string
	// MostWaiting and MostRunning are how many jobs of the caller may wait, and run, because of its
	// key; 0 is no limit of the key.
	MostWaiting, MostRunning int
	// Events: the job's events are to be written for followers.
	Events bool
	// WebhookSecret signs the job's webhook. No reading of the job shows it.
	WebhookSecret Secret
	// Subscriber is the process whose caller waits for the job; empty for none. It is notified
	// of the end. If it is lost, the job is cancelled.
	Subscriber string
}

// Created is the outcome of recording a NewJob.
type Created struct {
	Job Job
	// Replayed: the idempotency key was used before, and Job is the job of that time.
	Replayed bool
	// Held: its caller's window on the queue is full, so this job must not be enqueued now. It
	// comes into the outbox later.
	Held bool
	// Enqueued: its task is on its queue already, or the job is in the outbox.
	Enqueued bool
	Err      error
}

// RateLimit is a rate of requests.
type RateLimit struct {
	PerSecond float64 // 0 is no limit
	Burst     int     // requests at once
}

// Rate is the state of a rate limit after a request. If there are two, it is that of the one which
// leaves less.
type Rate struct {
	Allowed          bool
	OfKey            bool          // it is the key's own
	Limit, Remaining int           // requests at once, and the number of them that are left
	Reset            time.Duration // until all of them are available again
	RetryAfter       time.Duration // if it is not allowed
}
