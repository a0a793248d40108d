package telemetry

import (
	"context"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kaa-run/kaa/internal/job"
)

// Kinds of commands to Redis, for its metrics.
const (
	RedisScript   = "script"
	RedisPipeline = "pipeline"
	RedisCommand  = "command"
	RedisBlocking = "blocking"
	RedisDial     = "dial"
)

// Operations on the blob store.
const (
	BlobRead   = "read"
	BlobWrite  = "write"
	BlobDelete = "delete"
)

// beginShared makes the series of every process.
func (m *Metrics) beginShared() {
	for _, kind := range []string{RedisScript, RedisPipeline, RedisCommand, RedisBlocking, RedisDial} {
		m.redisErrors.WithLabelValues(kind)
		if kind != RedisBlocking && kind != RedisDial {
			m.redisTime.WithLabelValues(kind)
		}
	}
	for _, op := range []string{BlobRead, BlobWrite, BlobDelete} {
		m.blobErrors.WithLabelValues(op)
	}
	for _, kind := range []string{
		"active_without_lease", "lease_not_renewed", "task_off_list", "task_archived", "record_without_task", "task_without_record",
		"task_without_payload", "claim_without_record", "record_without_claim", "listing_without_record", "listing_of_other_state",
	} {
		m.mended.WithLabelValues(kind)
	}
	ended := func(state job.State, codes ...job.FailureCode) {
		for _, code := range codes {
			m.ended.WithLabelValues(string(state), string(code))
		}
	}
	ended(job.Completed, none)
	ended("lost", none)
	ended(job.Cancelled, none, job.FailCancelled, job.FailQueueTimeout, job.FailWaiterLost)
	ended(job.Queued, job.FailRunnerLost, job.FailDrained, job.FailFiles, job.FailNoNetwork, job.FailWorker)
	ended(job.Failed, job.FailRunnerLost, job.FailDrained, job.FailFiles, job.FailWorker, job.FailStart, job.FailNoRuntime, job.FailNoNetwork, job.FailSessionEnded)
}

// Scrape returns values at the time of a scrape; between scrapes it costs nothing.
type Scrape func(ctx context.Context, tell func(value float64, labels ...string)) error

// Open is the number of requests of one kind that wait at a process, and its limit; 0 is no
// limit.
type Open struct{ Now, Most int64 }

// API has the values that an API process reports at a scrape.
type API struct {
	QueueNames []string
	Queues     func(context.Context) ([]job.QueueStats, error)
	Sessions   func(context.Context) (map[job.SessionState]int64, error)
	Runners    func(context.Context) ([]job.Runner, error)
	Tenants    func(context.Context) ([]job.TenantSum, error)
	// Webhooks returns the number of pending webhooks.
	Webhooks func(context.Context) (int64, error)
	// Open returns the numbers of calls, polls, streams and sockets, by these names.
	Open       func() map[string]Open
	BodyMemory func() Open
}

// ForAPI shows the counters and values of an API process. It may be called once at most.
func (m *Metrics) ForAPI(a API) {
	m.registry.MustRegister(m.requests, m.problems, m.submitted, m.webhooks, m.archives, m.archived, NewQueues(a.Queues), NewSessions(a.Sessions), NewTenants(a.Tenants))
	const execute, jobs = "/process/interpreter/execute", "/v1/jobs"
	for _, status := range []int{http.StatusOK, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		m.requests.WithLabelValues("kaa", http.MethodPost, execute, strconv.Itoa(status))
	}
	for _, status := range []int{http.StatusAccepted, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		m.requests.WithLabelValues("kaa", http.MethodPost, jobs, strconv.Itoa(status))
	}
	for status, codes := range map[int][]string{
		http.StatusTooManyRequests: {
			"queue_full", "key_queue_full", "key_busy", "too_many_waits", "too_many_bytes", "too_many_results", "too_many_sockets", "too_many_sessions", "key_session_memory_full", "key_session_disk_full", "too_many_paused", "too_many_contexts", "rate_limited",
		},
		http.StatusServiceUnavailable: {
			"unavailable", "no_runner", "session_busy", "sessions_full", "draining", "schema_refused",
			string(job.FailStart), string(job.FailNoRuntime), string(job.FailNoNetwork), string(job.FailFiles), string(job.FailWorker), string(job.FailDrained), string(job.FailWaiterLost),
		},
		http.StatusInternalServerError: {"internal"},
		http.StatusBadGateway:          {string(job.FailRunnerLost)},
		http.StatusUnauthorized:        {"unauthorized"},
	} {
		for _, code := range codes {
			m.problems.WithLabelValues(strconv.Itoa(status), code)
		}
	}
	for _, queue := range append([]string{job.SessionQueue, job.OperationQueue}, a.QueueNames...) {
		m.submitted.WithLabelValues(queue)
	}
	for _, outcome := range []string{"delivered", "retry", "failed"} {
		m.webhooks.WithLabelValues(outcome)
	}
	for _, outcome := range []string{"written", "retry", "left"} {
		m.archives.WithLabelValues(outcome)
	}
	m.scraped("kaa_runners", "Runners that are registered, by state: they take jobs, cannot start an interpreter, or are draining.", []string{"state"}, a.runners)
	m.scraped("kaa_slots", "Executions that all registered runners can have at once, by state: busy, or free where runners take jobs.", []string{"state"}, a.slots)
	m.scraped("kaa_webhooks_pending", "Webhooks that are not delivered yet.", nil, func(ctx context.Context, tell func(float64, ...string)) error {
		n, err := a.Webhooks(ctx)
		if err == nil {
			tell(float64(n))
		}
		return err
	})
	m.scraped("kaa_http_open", "Waiting requests of this process: synchronous calls, long polls, streams of events, sockets.", []string{"kind"},
		a.open(func(o Open) int64 { return o.Now }))
	m.scraped("kaa_http_open_limit", "How many of them there may be; 0 is no limit.", []string{"kind"}, a.open(func(o Open) int64 { return o.Most }))
	m.scraped("kaa_body_memory_bytes", "Bytes of bodies that this process holds.", nil, func(_ context.Context, tell func(float64, ...string)) error {
		tell(float64(a.BodyMemory().Now))
		return nil
	})
	m.scraped("kaa_body_memory_limit_bytes", "How many it may hold; 0 is no limit.", nil, func(_ context.Context, tell func(float64, ...string)) error {
		tell(float64(a.BodyMemory().Most))
		return nil
	})
}

func (a API) runners(ctx context.Context, tell func(float64, ...string)) error {
	runners, err := a.Runners(ctx)
	if err != nil {
		return err
	}
	taking, draining, sick := 0, 0, 0
	for _, r := range runners {
		switch {
		case r.Draining:
			draining++
		case r.Sick != "":
			sick++
		default:
			taking++
		}
	}
	tell(float64(taking), "taking")
	tell(float64(sick), "sick")
	tell(float64(draining), "draining")
	return nil
}

func (a API) slots(ctx context.Context, tell func(float64, ...string)) error {
	runners, err := a.Runners(ctx)
	if err != nil {
		return err
	}
	busy, free := 0, 0
	for _, r := range runners {
		busy += r.Active
		if !r.Draining && r.Sick == "" {
			free += max(0, r.Concurrency-r.Active)
		}
	}
	tell(float64(busy), "busy")
	tell(float64(free), "free")
	return nil
}

func (a API) open(which func(Open) int64) Scrape {
	return func(_ context.Context, tell func(float64, ...string)) error {
		for kind, o := range a.Open() {
			tell(float64(which(o)), kind)
		}
		return nil
	}
}

// Runner has the attributes of a runner process, and the values that it reports at a scrape.
type Runner struct {
	Queues, Runtimes       []string
	Concurrency            int
	MaxSessions            int
	Sandbox, MemoryControl string
	Active, Sessions       func() int
	Draining               func() bool
	Sick                   func() string         // why it can start no interpreter; empty if it can
	Parked                 func() map[string]int // by runtime
}

// ForRunner shows the counters and values of a runner. It may be called once at most.
func (m *Metrics) ForRunner(r Runner) {
	m.registry.MustRegister(m.executed, m.duration, m.waited, m.limits, m.spawned, m.saves, m.spawnFailures)
	for _, status := range []job.Status{job.StatusOK, job.StatusError, job.StatusInterrupted, job.StatusExit} {
		m.executed.WithLabelValues(string(job.Completed), string(status))
		m.duration.WithLabelValues(string(status))
	}
	m.executed.WithLabelValues(string(job.Cancelled), string(job.StatusInterrupted))
	for _, state := range []job.State{job.Queued, job.Failed, "lost"} {
		m.executed.WithLabelValues(string(state), none)
	}
	m.duration.WithLabelValues(none)
	for _, queue := range append([]string{job.SessionQueue}, r.Queues...) {
		m.waited.WithLabelValues(queue)
	}
	for _, limit := range []string{string(job.LimitMemory), string(job.LimitCPU), string(job.LimitTimeout), "output", "results", "files"} {
		m.limits.WithLabelValues(limit)
	}
	for _, outcome := range []string{"saved", "unchanged", "failed"} {
		m.saves.WithLabelValues(outcome)
	}
	for _, runtime := range r.Runtimes {
		m.spawned.WithLabelValues(runtime)
		m.spawnFailures.WithLabelValues(runtime)
	}
	number := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	number("kaa_runner_slots", "Executions that this runner can have at once.", func() float64 { return float64(r.Concurrency) })
	number("kaa_runner_slots_busy", "Executions that it has.", func() float64 { return float64(r.Active()) })
	number("kaa_runner_sessions", "Sessions that it has.", func() float64 { return float64(r.Sessions()) })
	number("kaa_runner_sessions_limit", "Sessions that it has room for.", func() float64 { return float64(r.MaxSessions) })
	number("kaa_runner_draining", "Whether it takes no more jobs.", func() float64 {
		if r.Draining() {
			return 1
		}
		return 0
	})
	number("kaa_runner_sick", "Whether it takes no jobs because it can start no interpreter.", func() float64 {
		if r.Sick() != "" {
			return 1
		}
		return 0
	})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kaa_runner_sandbox_info", Help: "The sandbox level in force, and the mechanism that limits memory; always 1."},
		[]string{"sandbox", "memory_control"})
	info.WithLabelValues(r.Sandbox, r.MemoryControl).Set(1)
	m.registry.MustRegister(info)
	m.scraped("kaa_workers_parked", "Interpreters that are ready for an execution.", []string{"runtime"}, func(_ context.Context, tell func(float64, ...string)) error {
		for runtime, n := range r.Parked() {
			tell(float64(n), runtime)
		}
		return nil
	})
}

// scraped registers a gauge whose values are read at each scrape.
func (m *Metrics) scraped(name, help string, labels []string, ask Scrape) {
	m.registry.MustRegister(&scraped{prometheus.NewDesc(name, help, labels, nil), ask})
}

type scraped struct {
	desc *prometheus.Desc
	ask  Scrape
}

// Describe names the metric.
func (s *scraped) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect reads the values. Values that cannot be read are missing; kaa_redis_up is 0 then.
func (s *scraped) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	_ = s.ask(ctx, func(value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, value, labels...)
	})
}
