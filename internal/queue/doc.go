// Package queue moves job ids from the API processes to the runners. It owns
// asynq, its keys and the wake lists in Redis, and no other package of Kaa knows
// them: the api and the rescuer enqueue tasks with a Client, and a runner takes
// them with a Server.
//
// It only dispatches. The state of a job is in its record (internal/store). A task
// may be delivered more than once; the claim of the record makes the code start at
// most once. A task is never lost while Redis keeps its data: no task of Kaa ends
// in asynq's archive.
//
// asynq finds new tasks by polling. The gate (gate.go) turns that into waiting: an
// idle server is parked in BLPOP on the wake lists, and each Enqueue leaves one
// token that wakes one of them.
//
//	Enqueue ─▶ asynq:{q}:pending ──────────────▶ dequeue script ─▶ Handler
//	       └─▶ {kaa}:wake:q ─▶ BLPOP (parked) ─▶ gate opens ──┘
//
// Only Redis can fail. A Client then returns job.ErrUnavailable. A Server backs
// off, keeps trying and goes on by itself. If asynq's dequeue does not have the
// shape that the gate expects, the server polls instead, and logs that.
package queue
