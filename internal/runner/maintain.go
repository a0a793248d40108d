package runner

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Outbox has the jobs whose task has to be enqueued: delayed ones, retried ones, and those whose
// API process died between recording and enqueueing them.
type Outbox interface {
	// Due returns at most most tasks to enqueue, and the time until the next is due; negative if
	// none is known.
	Due(ctx context.Context, most int) ([]job.Task, time.Duration, error)
	// Enqueued confirms that tasks are on their queues.
	Enqueued(ctx context.Context, tasks ...job.Task) error
}

// Repairs are the store's methods for the rest of the maintenance.
type Repairs interface {
	// Lapsed returns the runners whose heartbeat has lapsed, except self, and the API processes
	// whose lease on their callers' jobs has lapsed.
	Lapsed(ctx context.Context, self string) ([]string, error)
	// Rescue settles the jobs of those processes that are still lapsed: the jobs that a runner
	// executed, and the jobs that an API process's callers waited for. It reports whether there
	// was a runner among the processes.
	Rescue(ctx context.Context, lapsed ...string) (rescued []job.Rescued, runner bool, err error)
	// Ready reports whether Redis accepts writes.
	Ready(ctx context.Context) error
	// Sweep takes expired jobs out of the listings and returns how many it found.
	Sweep(ctx context.Context, most int) (int, error)
}

// Enqueue puts a task on its queue. A task that is already on it is no error.
type Enqueue func(ctx context.Context, t job.Task) error

// Reclaim puts tasks back on their queues that a dead runner had taken without claiming their
// jobs.
type Reclaim func(ctx context.Context) error

// Periods are the periods of a process's maintenance. Each look costs an idle process the
// commands of one script. So the defaults, which replace zeros, are as long as Kaa's promises
// allow.
type Periods struct {
	Promote   time.Duration // 10 s: new delayed jobs are announced; a look finds lost announcements
	Rescue    time.Duration // 4 s: 14.2 s with heartbeat and second look, of 15 s promised
	Sweep     time.Duration // 20 s: readers of the listings ignore expired jobs
	Reconcile time.Duration // 30 s, by the process that is first
}

func (p Periods) withDefaults() Periods {
	return Periods{
		Promote: cmp.Or(p.Promote, 10*time.Second), Rescue: cmp.Or(p.Rescue, 4*time.Second),
		Sweep: cmp.Or(p.Sweep, 20*time.Second), Reconcile: cmp.Or(p.Reconcile, 30*time.Second),
	}
}

const (
	retryAfter = time.Second // after an error
	// rescueGrace is how long Redis must have answered before a runner is written off. Without
	// Redis no runner can write its heartbeat, and live runners need time to write one when Redis
	// is back.
	rescueGrace = 8 * time.Second
	// secondLook is the time after which a runner that seems dead is looked at again; it is
	// written off if it still seems dead. A live runner whose heartbeats were held up, say by a
	// Redis that stood still or was full, has written the next one by then.
	secondLook = 2200 * time.Millisecond
	// slowLook is the time above which the result of a look is ignored. A look that waited for
	// Redis reports lapses that Redis caused.
	slowLook = time.Second
	// reclaims is how often the maintainer looks for the tasks of a lost runner. They are known
	// 10 s after its death, and its heartbeat may lapse 6 s after it.
	reclaims = 3
	batch    = 256
)

// Maintainer does the work that belongs to no single job. Every API and runner process has one.
// Any number of them may run, because all their writes to Redis are compare-and-set.
type Maintainer struct {
	self    string // the runner of this process, if there is one
	outbox  Outbox
	repairs Repairs
	enqueue Enqueue
	reclaim Reclaim
	periods Periods
	log     *slog.Logger

	wake chan struct{} // a token: look at the outbox now
	// answersSince is the time since which Redis has answered; zero if it does not. toReclaim is
	// how often to reclaim yet. Only the goroutine that rescues uses them.
	answersSince time.Time
	toReclaim    int
	stop         context.CancelFunc
	done         sync.WaitGroup
}

// NewMaintainer returns a maintainer that has not started yet. self is the id of the process's
// runner; empty if the process has none.
func NewMaintainer(self string, outbox Outbox, repairs Repairs, enqueue Enqueue, reclaim Reclaim, periods Periods, log *slog.Logger) *Maintainer {
	return &Maintainer{
		self: self, outbox: outbox, repairs: repairs, enqueue: enqueue, reclaim: reclaim,
		periods: periods.withDefaults(), log: log, wake: make(chan struct{}, 1),
	}
}

// Start begins the maintenance; Close ends it.
func (m *Maintainer) Start(ctx context.Context) {
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.answersSince = time.Now()
	m.done.Go(func() { m.promote(ctx) })
	m.done.Go(func() { m.rescueAll(ctx) })
	m.done.Go(func() { every(ctx, m.periods.Sweep, func() { m.sweep(ctx) }) })
}

// Close ends the maintenance and waits for it.
func (m *Maintainer) Close() {
	if m.stop != nil {
		m.stop()
	}
	m.done.Wait()
}

// OutboxChanged makes the maintainer look at the outbox at once. It never blocks.
func (m *Maintainer) OutboxChanged() {
	select {
	case m.wake <- struct{}{}:
	default: // a look is due already
	}
}

// promote enqueues due jobs, and sleeps until the next one is due.
func (m *Maintainer) promote(ctx context.Context) {
	for {
		pause, err := m.enqueueDue(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.log.WarnContext(ctx, "due jobs were not all enqueued: will try again", slog.Any("err", err))
			pause = retryAfter
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-m.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// enqueueDue enqueues all due jobs and returns how long to wait.
func (m *Maintainer) enqueueDue(ctx context.Context) (time.Duration, error) {
	for {
		due, next, err := m.outbox.Due(ctx, batch)
		if err != nil {
			return 0, err
		}
		if len(due) == 0 {
			if next < 0 || next > m.periods.Promote {
				next = m.periods.Promote
			}
			return next, nil
		}
		for _, t := range due {
			if err := m.enqueue(ctx, t); err != nil {
				return 0, err
			}
		}
		// The confirmation comes last, so that a task that was not enqueued stays in the outbox.
		if err := m.outbox.Enqueued(ctx, due...); err != nil {
			return 0, err
		}
	}
}

// rescueAll looks for lost runners until ctx ends.
func (m *Maintainer) rescueAll(ctx context.Context) {
	for began := time.Now(); ; {
		if wait(ctx, m.untilRescue(began)); ctx.Err() != nil {
			return
		}
		began = time.Now()
		m.rescue(ctx)
	}
}

// untilRescue is the time until the next look, if the last one began then. After an outage of Redis the looks are not a
// whole period apart: they would find Redis back up to a period late, and the end of rescueGrace
// another period late. Then jobs of a lost runner would end later than Kaa promises.
func (m *Maintainer) untilRescue(began time.Time) time.Duration {
	next := time.Until(began.Add(m.periods.Rescue))
	if m.answersSince.IsZero() {
		return min(next, retryAfter)
	}
	if grace := time.Until(m.answersSince.Add(rescueGrace)); grace > 0 {
		return min(next, grace)
	}
	return next
}

func (m *Maintainer) rescue(ctx context.Context) {
	if m.answersSince.IsZero() || time.Since(m.answersSince) < rescueGrace {
		switch err := m.repairs.Ready(ctx); {
		case err != nil:
			m.answersSince = time.Time{}
		case m.answersSince.IsZero():
			m.answersSince = time.Now()
		}
		return
	}
	lost := m.lapsed(ctx)
	if len(lost) > 0 {
		// A Redis that answers but accepts no writes holds up heartbeats, too.
		if err := m.repairs.Ready(ctx); err != nil {
			m.troubled(ctx, "could not look for lost runners: will try again", err)
			return
		}
		wait(ctx, secondLook)
		still := m.lapsed(ctx)
		lost = slices.DeleteFunc(lost, func(id string) bool { return !slices.Contains(still, id) })
	}
	if len(lost) > 0 && !m.writeOff(ctx, lost) {
		return
	}
	if m.toReclaim == 0 || ctx.Err() != nil {
		return
	}
	if err := m.reclaim(ctx); err != nil {
		m.log.WarnContext(ctx, "tasks of a lost runner were not put back: will try again", slog.Any("err", err))
		return
	}
	m.toReclaim--
}

// lapsed returns the processes that seem dead; none if the answer of Redis was slow.
func (m *Maintainer) lapsed(ctx context.Context) []string {
	began := time.Now()
	lapsed, err := m.repairs.Lapsed(ctx, m.self)
	switch {
	case err != nil:
		m.troubled(ctx, "could not look for lost runners: will try again", err)
		return nil
	case time.Since(began) > slowLook:
		m.answersSince = time.Now()
		return nil
	}
	return lapsed
}

// writeOff settles the jobs of lost runners and reports whether that worked.
func (m *Maintainer) writeOff(ctx context.Context, lost []string) bool {
	rescued, runner, err := m.repairs.Rescue(ctx, lost...)
	if err != nil {
		// A runner may have been written off before the error: look for its tasks.
		m.toReclaim = reclaims
		m.troubled(ctx, "jobs of lost runners were not settled: will try again", err)
		return false
	}
	for _, r := range rescued {
		if r.Unattended {
			m.log.WarnContext(ctx, "no client waits for a job any more", slog.String("job_id", r.JobID), slog.String("state", string(r.State)))
			continue
		}
		m.log.WarnContext(ctx, "runner of a job was lost", slog.String("job_id", r.JobID), slog.String("state", string(r.State)))
	}
	if len(rescued) > 0 {
		m.OutboxChanged()
	}
	if runner {
		m.toReclaim = reclaims
	}
	return true
}

// troubled logs a failure of Redis. No runner is written off for rescueGrace after it.
func (m *Maintainer) troubled(ctx context.Context, doing string, err error) {
	m.answersSince = time.Time{}
	if ctx.Err() == nil {
		m.log.WarnContext(ctx, doing, slog.Any("err", err))
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (m *Maintainer) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := m.repairs.Sweep(ctx, batch)
		if err != nil {
			if ctx.Err() == nil {
				m.log.WarnContext(ctx, "listings were not swept: will try again", slog.Any("err", err))
			}
			return
		}
		if n < batch {
			return
		}
	}
}
