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

// Records is what delivering needs of the store.
type Records interface {
	// TakeHooks takes webhooks that are due, most at a time, under a lease, and
	// returns how long until the next one is; negative when there is none.
	TakeHooks(ctx context.Context, most int, lease time.Duration) ([]job.Delivery, time.Duration, error)
	SettleHook(ctx context.Context, d job.Delivery, r job.Report) error
	Get(ctx context.Context, id string) (job.Job, error)
}

// Observer is told of each attempt, for metrics: outcome is delivered, retry or failed.
type Observer interface {
	Webhook(outcome string, took time.Duration)
}

const (
	// concurrency is how many deliveries a process has under way.
	concurrency = 32
	// leaseMargin is what a lease lasts beyond the attempt's own time: reading the job
	// and reporting.
	leaseMargin = 20 * time.Second
	// The pauses between attempts: 5 s, doubling, up to an hour, each a fifth more or
	// less, so that what failed together does not come back together.
	firstPause = 5 * time.Second
	lastPause  = time.Hour
	jitter     = 0.2
	// afterError is the pause when the store does not answer.
	afterError = time.Second
	// reportTime bounds the report of an attempt.
	reportTime = 5 * time.Second
)

// Config are a deliverer's parts and bounds. Zero times mean their defaults.
type Config struct {
	Records  Records
	Body     func(job.Job) ([]byte, error) // the message of a job's end
	Observer Observer
	Log      *slog.Logger

	Memory       *job.Memory // of the process, for large results
	UserAgent    string
	AllowPrivate bool          // allows addresses that are not public
	Timeout      time.Duration // of an attempt; 10 s
	RetryFor     time.Duration // how long after the job's end it is tried; 0 means once
}

// Deliverer delivers webhooks. Create it with New, then Start, and Close always.
type Deliverer struct {
	cfg    Config
	client *http.Client
	hosts  *hosts

	wake  chan struct{}      // a token: look now
	slots chan struct{}      // one in it for each delivery
	stop  context.CancelFunc // takes no more
	abort context.CancelFunc // ends those under way
	done  sync.WaitGroup
}

// New returns a deliverer that has not started yet.
func New(cfg Config) *Deliverer {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	return &Deliverer{
		cfg: cfg, client: newClient(cfg.AllowPrivate), hosts: newHosts(),
		wake: make(chan struct{}, 1), slots: make(chan struct{}, concurrency),
	}
}

// Start begins to deliver.
func (d *Deliverer) Start(ctx context.Context) {
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	ctx, d.stop = context.WithCancel(work)
	d.abort = abort
	d.done.Go(func() { d.run(ctx, work) })
}

// Due makes the deliverer look at once. It never blocks.
func (d *Deliverer) Due() {
	select {
	case d.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Close takes no more webhooks, lets those under way end until ctx does, and then
// gives them back.
func (d *Deliverer) Close(ctx context.Context) error {
	if d.stop == nil {
		return nil
	}
	d.stop()
	ended := make(chan struct{})
	go func() { d.done.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done(): // somebody is in a hurry
	case <-time.After(remaining(ctx, reportTime) / 2):
	}
	d.abort()
	<-ended
	d.client.CloseIdleConnections()
	return nil
}

// remaining is the time that ctx has left, byDefault if it has no end.
func remaining(ctx context.Context, byDefault time.Duration) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return byDefault
	}
	return max(0, time.Until(end))
}

// run takes what is due whenever there is room, and sleeps until the next is.
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
				defer func() { <-d.slots }()
				d.deliver(work, t)
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

// sleep waits for a token or until the pause is over, which a negative one never is.
// It reports false when ctx has ended.
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

// reserve takes all free slots, waiting for the first; 0 when ctx has ended.
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

// deliver makes one attempt and reports it.
func (d *Deliverer) deliver(ctx context.Context, t job.Delivery) {
	log := d.cfg.Log.With(slog.String("job_id", t.JobID), slog.Int("webhook_attempt", t.Attempt))
	start := time.Now()
	result, err := d.attempt(ctx, t)
	if err != nil {
		if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
			return // and so is the webhook, at the next take
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

// decide says what an attempt means for its webhook.
func (d *Deliverer) decide(ctx context.Context, t job.Delivery, r attempt) (report job.Report, outcome string) {
	report = job.Report{State: job.WebhookFailed, Status: r.status, Error: r.problem}
	switch {
	case r.problem == "":
		report.State = job.WebhookDelivered
		return report, "delivered"
	case ctx.Err() != nil: // the process stops: another may try at once
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

// pauseAfter is the pause after so many attempts.
func pauseAfter(attempts int) time.Duration {
	pause := min(firstPause<<min(max(attempts-1, 0), 20), lastPause)
	return time.Duration(float64(pause) * (1 - jitter + 2*jitter*rand.Float64())) //nolint:gosec // no secret
}
