// Package queue moves job ids from whoever accepts jobs to whoever runs them. It
// owns asynq, its keys and the wake lists in Redis, and nothing else of Kaa knows
// them: the api and the rescuer put tasks on with a Client, a runner takes them
// off with a Server.
//
// It only dispatches. What is true of a job is in its record (internal/store); a
// task may be delivered more than once, and the claim of the record is what makes
// the code start at most once. A task is never lost while Redis keeps its data:
// no path of ours ends in asynq's archive.
//
// asynq finds new tasks by polling. The gate (gate.go) turns that into waiting: an
// idle server is parked in BLPOP on the wake lists, and each Enqueue leaves one
// token that wakes one of them.
//
//	Enqueue ─▶ asynq:{q}:pending ──────────────▶ dequeue script ─▶ Handler
//	       └─▶ {kaa}:wake:q ─▶ BLPOP (parked) ─▶ gate opens ──┘
//
// What can fail is Redis. A Client then says job.ErrUnavailable; a Server backs
// off, keeps trying and goes on by itself. If asynq's dequeue is not what the gate
// expects, the server polls instead, and says so in the log.
package queue
