package webhook

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Records are the operations of the store that delivering needs.
type Records interface {
	// TakeHooks takes at most most due webhooks under a lease. It returns the time until the
	// next one is due; negative if there is none.
	TakeHooks(ctx context.Context, most int, lease time.Duration) ([]job.Delivery, time.Duration, error)
	SettleHook(ctx context.Context, d job.Delivery, r job.Report) error
	Get(ctx context.Context, id string) (job.Job, error)
	Batch(ctx context.Context, id string) (job.Batch, error)
}

// Observer receives each attempt, for metrics. outcome is delivered, retry or failed.
type Observer interface {
	Webhook(outcome string, took time.Duration)
}

const (
	// leaseMargin is the time of a lease beyond the attempt's own, for reading the job and
	// reporting.
	leaseMargin = 20 * time.Second
	// The pauses between attempts are 5 s, doubling, up to an hour. Each varies by a fifth, so
	// that webhooks that failed together do not come back together.
	firstPause = 5 * time.Second
	lastPause  = time.Hour
	jitter     = 0.2
	// afterError is the pause when the store does not answer.
	afterError = time.Second
	// reportTime bounds the report of an attempt.
	reportTime = 5 * time.Second
)

// Config has a deliverer's parts and bounds. Zero times mean their defaults.
type Config struct {
	Records Records
	Body    func(job.Job) ([]byte, error) // makes the message of a job's end
	// BatchBody makes the message about a batch of which so many percent had ended.
	BatchBody func(b job.Batch, percent int) ([]byte, error)
	Observer  Observer
	Log       *slog.Logger

	Memory       *job.Memory // the process's memory for large results
	UserAgent    string
	AllowPrivate bool          // allows addresses that are not public
	Timeout      time.Duration // of an attempt; 10 s
	Patience     time.Duration // after which an attempt counts as slow; 300 ms
	RetryFor     time.Duration // time after the job's end during which it is retried; 0 means one attempt
}

// Deliverer delivers webhooks. Create it with New, then call Start, and Close in any case.
type Deliverer struct {
	cfg    Config
	client *http.Client
	hosts  *hosts

	wake  chan struct{}      // a token: check now
	slots chan struct{}      // one token for each delivery under way that is not slow
	slow  job.Shares         // of slow deliveries
	stop  context.CancelFunc // ends the taking of webhooks
	abort context.CancelFunc // ends the deliveries under way
	done  sync.WaitGroup
}

// New returns a deliverer that has not started yet.
func New(cfg Config) *Deliverer {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = slowAfter
	}
	d := &Deliverer{
		cfg: cfg, client: newClient(cfg.AllowPrivate), hosts: newHosts(),
		wake: make(chan struct{}, 1), slots: make(chan struct{}, concurrency),
	}
	d.slow.Fair(true)
	return d
}

// Start begins the delivery.
func (d *Deliverer) Start(ctx context.Context) {
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	ctx, d.stop = context.WithCancel(work)
	d.abort = abort
	d.done.Go(func() { d.run(ctx, work) })
}

// Due makes the deliverer check at once. It never blocks.
func (d *Deliverer) Due() {
	select {
	case d.wake <- struct{}{}:
	default: // a check is due already
	}
}

// Close takes no more webhooks. It lets those under way end until ctx does, and then gives them
// back.
func (d *Deliverer) Close(ctx context.Context) error {
	if d.stop == nil {
		return nil
	}
	d.stop()
	ended := make(chan struct{})
	go func() { d.done.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done(): // the caller's ctx has ended: do not wait
	case <-time.After(remaining(ctx, reportTime) / 2):
	}
	d.abort()
	<-ended
	d.client.CloseIdleConnections()
	return nil
}

// remaining is the time that ctx has left, or byDefault if it has no deadline.
func remaining(ctx context.Context, byDefault time.Duration) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return byDefault
	}
	return max(0, time.Until(end))
}

// run takes due webhooks whenever there is room, and sleeps until the next one is due.
// Deliveries live as long as work does.
func (d *Deliverer) run(ctx, work context.Context) {
	for {
		room := d.reserve(ctx)
		if room == 0 {
			return
		}
		taken, pause, err := d.cfg.Records.TakeHooks(ctx, room, d.cfg.Timeout+leaseMargin)
		if err != nil {
			pause = afterError
			if ctx.Err() == nil {
				d.cfg.Log.WarnContext(ctx, "could not look for webhooks that are due: will try again", slog.Any("err", err))
			}
		}
		for _, t := range taken {
			d.done.Go(func() {
				attempting, p := d.enter(work, t.Owner)
				defer p.leave()
				d.deliver(work, attempting, t)
			})
		}
		for range room - len(taken) {
			<-d.slots
		}
		if !d.sleep(ctx, pause) {
			return
		}
	}
}

// sleep waits for a token, or until the pause is over. A negative pause never ends. It reports
// false when ctx has ended.
func (d *Deliverer) sleep(ctx context.Context, pause time.Duration) bool {
	var over <-chan time.Time
	if pause >= 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-d.wake:
	case <-over:
	}
	return ctx.Err() == nil
}

// reserve waits for a free place and takes all that are free. It returns 0 when ctx has ended.
func (d *Deliverer) reserve(ctx context.Context) int {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; ; n++ {
		select {
		case d.slots <- struct{}{}:
		default:
			return n
		}
	}
}

// deliver makes one attempt and reports it. The attempt ends with attempting.
func (d *Deliverer) deliver(ctx, attempting context.Context, t job.Delivery) {
	log := d.cfg.Log.With(slog.String("job_id", t.JobID), slog.Int("webhook_attempt", t.Attempt))
	if t.BatchID != "" {
		log = d.cfg.Log.With(slog.String("batch_id", t.BatchID), slog.Int("percent", t.Percent), slog.Int("webhook_attempt", t.Attempt))
	}
	start := time.Now()
	result, err := d.attempt(attempting, t)
	if errors.Is(context.Cause(attempting), errCrowded) && (err != nil || result.status == 0) {
		result, err = attempt{problem: errCrowded.Error(), again: true}, nil
	}
	if err != nil {
		if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
			return // the webhook goes with it at the next take
		}
		log.WarnContext(ctx, "webhook: left to the next lease", slog.Any("err", err))
		return
	}
	report, outcome := d.decide(ctx, t, result)
	d.cfg.Observer.Webhook(outcome, time.Since(start))
	level := slog.LevelDebug
	if report.State == job.WebhookFailed {
		level = slog.LevelWarn
	}
	log.Log(ctx, level, "webhook", slog.String("outcome", outcome), slog.Int("status", result.status), slog.String("problem", result.problem))

	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	err = d.cfg.Records.SettleHook(saving, t, report)
	if err != nil && !errors.Is(err, job.ErrStale) && !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrGone) {
		log.WarnContext(ctx, "webhook: not reported, so it comes again", slog.Any("err", err))
	}
}

// decide turns the outcome of an attempt into the next step of its webhook.
func (d *Deliverer) decide(ctx context.Context, t job.Delivery, r attempt) (report job.Report, outcome string) {
	report = job.Report{State: job.WebhookFailed, Status: r.status, Error: r.problem}
	switch {
	case r.problem == "":
		report.State = job.WebhookDelivered
		return report, "delivered"
	case ctx.Err() != nil: // the process stops: another process may retry at once
		report.State = job.WebhookPending
		return report, "retry"
	case !r.again:
		return report, "failed"
	}
	next := max(pauseAfter(t.Attempt), min(r.retryAfter, lastPause))
	if t.Age+next > d.cfg.RetryFor {
		report.Error += "; given up"
		return report, "failed"
	}
	report.State, report.Next = job.WebhookPending, next
	return report, "retry"
}

// pauseAfter is the pause after the given number of attempts.
func pauseAfter(attempts int) time.Duration {
	pause := min(firstPause<<min(max(attempts-1, 0), 20), lastPause)
	return time.Duration(float64(pause) * (1 - jitter + 2*jitter*rand.Float64())) //nolint:gosec // no secret
}
