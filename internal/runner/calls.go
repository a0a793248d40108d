package runner

import (
	"context"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// repliesBuffered is the number of answers to calls of an execution that wait for the interpreter.
// There are as many at once as there are open calls. findReplies delivers those that had no room.
const repliesBuffered = 256

// Calls are the store's methods for calls that executed code makes to functions of its caller.
type Calls interface {
	// Replies returns the answers for jobs that RepliesTaken has not dropped.
	Replies(ctx context.Context, jobs []string) ([]job.Reply, error)
	RepliesTaken(ctx context.Context, job string, calls []string) error
}

// Replied delivers the answer to a call of a job. The same answer may be delivered repeatedly.
func (r *Runner) Replied(p job.Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.active[p.JobID]
	if e == nil {
		return
	}
	select {
	case e.replies <- p:
		e.taken = append(e.taken, p.Call)
	default: // the channel is nil, or full: then findReplies delivers it later
	}
}

// findReplies looks in the store for answers to calls whose message did not reach the runner, and
// drops those that did. It sends no command unless an execution that may make calls is running.
func (r *Runner) findReplies(ctx context.Context) {
	r.mu.Lock()
	var jobs []string
	taken := map[string][]string{}
	for id, e := range r.active {
		if e.replies != nil {
			jobs = append(jobs, id)
			taken[id], e.taken = e.taken, nil
		}
	}
	r.mu.Unlock()
	if len(jobs) == 0 {
		return
	}
	var err error
	for _, id := range jobs {
		if len(taken[id]) > 0 && err == nil {
			err = r.cfg.Calls.RepliesTaken(ctx, id, taken[id]) // what stays there is found again
		}
	}
	var replies []job.Reply
	if err == nil {
		// Answers that come from here on may be found twice. The interpreter takes the first.
		replies, err = r.cfg.Calls.Replies(ctx, jobs)
	}
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.WarnContext(ctx, "could not look for answers to calls: will try again", slog.Any("err", err))
	}
	for _, p := range replies {
		r.Replied(p)
	}
}
