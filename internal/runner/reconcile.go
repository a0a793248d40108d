package runner

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Reconciliation are the store's methods for the comparison of records and queues.
type Reconciliation interface {
	// Elect reports whether the calling process is the one that does something in a period.
	Elect(ctx context.Context, what string, period time.Duration) (bool, error)
	// Mend makes registry and listings agree with the records, and counts repairs. It returns nil
	// if all jobs have ended.
	Mend(ctx context.Context, queues []string, most int) (map[string]int, error)
	// Waiting returns tasks that have to be on the queue, the oldest first.
	Waiting(ctx context.Context, queue string, most int) ([]job.Task, error)
	// Requeue puts jobs whose tasks are lost into the outbox.
	Requeue(ctx context.Context, tasks ...job.Task) (int, error)
	// PausedQueues returns the queues that an operator has paused.
	PausedQueues(ctx context.Context) (map[string]time.Time, error)
	// Unwanted returns those of the tasks that no job waits for.
	Unwanted(ctx context.Context, tasks []job.Task) ([]job.Task, error)
}

// TaskLists are the queue's methods for the comparison of records and queues.
type TaskLists interface {
	// MendQueue repairs lists that disagree, counts the repairs, and returns waiting tasks.
	MendQueue(ctx context.Context, queue string) (map[string]int, []job.Task, error)
	// Missing returns the tasks of a queue that are on none of its lists. It repairs others.
	Missing(ctx context.Context, queue string, tasks []job.Task) ([]job.Task, map[string]int, error)
	// Delete takes a task off its queue, and reports whether it was on it.
	Delete(ctx context.Context, t job.Task) (bool, error)
	// Pause makes servers take no task of a queue, if they do.
	Pause(ctx context.Context, queue string) error
}

const (
	// missingFor is how long a task has to be missing before it is requeued. Records and queues
	// are not read in one step, so a job that is just being moved may seem to be on none.
	missingFor = 2 * time.Second
	// reconcileMost bounds the entries of each listing that are compared at a time.
	reconcileMost = 256

	kindNoTask   = "record_without_task"
	kindNoRecord = "task_without_record"
)

// Reconciler compares records, queues and registry, and repairs disagreements. Only bugs, lost
// writes of Redis or manual changes cause them. Every process has a reconciler; one of them does
// the work. All of its steps are compare-and-set.
type Reconciler struct {
	queues   []string
	records  Reconciliation
	lists    TaskLists
	repaired func(kind string, n int) // for the metrics
	period   time.Duration
	log      *slog.Logger
	also     func(ctx context.Context) error // done by the same process; nil for nothing
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// NewReconciler returns a reconciler that has not started yet.
func NewReconciler(queues []string, records Reconciliation, lists TaskLists, repaired func(kind string, n int), periods Periods, log *slog.Logger) *Reconciler {
	return &Reconciler{queues: queues, records: records, lists: lists, repaired: repaired, period: periods.withDefaults().Reconcile, log: log}
}

// Also has f called in each period by the process that compares. It is called before Start.
func (r *Reconciler) Also(f func(ctx context.Context) error) { r.also = f }

// Start begins the comparisons; Close ends them.
func (r *Reconciler) Start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.done.Go(func() {
		every(ctx, r.period, func() {
			if err := r.reconcile(ctx); err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "records and queues could not be compared: will try again", slog.Any("err", err))
			}
		})
	})
}

// Close ends the comparisons and waits for the one under way.
func (r *Reconciler) Close() {
	if r.stop != nil {
		r.stop()
	}
	r.done.Wait()
}

// pause pauses the task lists of paused queues, in case the process that paused one ended in between.
func (r *Reconciler) pause(ctx context.Context) error {
	paused, err := r.records.PausedQueues(ctx)
	for _, q := range r.queues {
		if _, ok := paused[q]; ok && err == nil {
			err = r.lists.Pause(ctx, q)
		}
	}
	return err
}

func (r *Reconciler) reconcile(ctx context.Context) error {
	// The period of the election is a little shorter, so that a process's own next look is not
	// too early for it.
	if mine, err := r.records.Elect(ctx, "reconcile", r.period-r.period/30); err != nil || !mine {
		return err
	}
	if r.also != nil {
		if err := r.also(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "the fleet was not sampled: will try again", slog.Any("err", err))
		}
	}
	if err := r.pause(ctx); err != nil {
		return err
	}
	// The executions of sessions are in the listings and the registry, but on no queue.
	mended, err := r.records.Mend(ctx, append(slices.Clone(r.queues), job.SessionQueue, job.OperationQueue), reconcileMost)
	r.count(ctx, mended)
	if err != nil {
		return err
	}
	missing := map[string][]job.Task{}
	for _, q := range r.queues {
		if err := r.reconcileTasks(ctx, q); err != nil {
			return err
		}
		if mended == nil {
			continue
		}
		tasks, err := r.missing(ctx, q)
		if err != nil {
			return err
		}
		if len(tasks) > 0 {
			missing[q] = tasks
		}
	}
	if len(missing) == 0 {
		return nil
	}
	wait(ctx, missingFor)
	for q, tasks := range missing {
		still, err := r.missing(ctx, q)
		if err != nil {
			return err
		}
		if tasks = inBoth(tasks, still); len(tasks) == 0 {
			continue
		}
		n, err := r.records.Requeue(ctx, tasks...)
		if err != nil {
			return err
		}
		r.count(ctx, map[string]int{kindNoTask: n})
	}
	return nil
}

// reconcileTasks repairs a queue's lists and removes tasks that no job waits for.
func (r *Reconciler) reconcileTasks(ctx context.Context, queue string) error {
	mended, tasks, err := r.lists.MendQueue(ctx, queue)
	r.count(ctx, mended)
	if err != nil {
		return err
	}
	unwanted, err := r.records.Unwanted(ctx, tasks)
	if err != nil {
		return err
	}
	deleted := 0
	for _, t := range unwanted {
		if ctx.Err() != nil { // asynq's inspector, which deletes, takes no context
			return context.Cause(ctx)
		}
		there, err := r.lists.Delete(ctx, t)
		if err != nil {
			return err
		}
		if there {
			deleted++
		}
	}
	r.count(ctx, map[string]int{kindNoRecord: deleted})
	return nil
}

// missing returns the tasks that should be on a queue but are not.
func (r *Reconciler) missing(ctx context.Context, queue string) ([]job.Task, error) {
	waiting, err := r.records.Waiting(ctx, queue, reconcileMost)
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	missing, mended, err := r.lists.Missing(ctx, queue, waiting)
	r.count(ctx, mended)
	return missing, err
}

func (r *Reconciler) count(ctx context.Context, repaired map[string]int) {
	for kind, n := range repaired {
		if n > 0 {
			r.repaired(kind, n)
			r.log.WarnContext(ctx, "repaired what disagreed", slog.String("kind", kind), slog.Int("count", n))
		}
	}
}

func inBoth(a, b []job.Task) []job.Task {
	in := make(map[job.Task]bool, len(b))
	for _, t := range b {
		in[t] = true
	}
	var both []job.Task
	for _, t := range a {
		if in[t] {
			both = append(both, t)
		}
	}
	return both
}
