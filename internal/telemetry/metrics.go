// Package telemetry reports on a process to operators, by structured logs and Prometheus
// metrics. Each process has a registry of its own; nothing is global, so tests may have many.
// The app hands its parts to the api and the runner, which know only the interfaces that they
// declare.
//
// Every metric exists from the start, with 0: a series that appears with its first event breaks
// rates and alarms. No label takes a value that a caller chooses.
package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kaa-run/kaa/internal/job"
)

// Metrics counts the events of a process. It is the Observer of the api, the runner, the
// interpreters and the webhooks. Its methods never block and are safe for concurrent use. ForAPI
// and ForRunner decide which of the counters are shown.
type Metrics struct {
	registry *prometheus.Registry

	// For every process.
	ended       *prometheus.CounterVec
	mended      *prometheus.CounterVec
	redisTime   *prometheus.HistogramVec
	redisErrors *prometheus.CounterVec
	blobErrors  *prometheus.CounterVec

	// For an API.
	requests  *prometheus.HistogramVec
	problems  *prometheus.CounterVec
	submitted *prometheus.CounterVec
	webhooks  *prometheus.HistogramVec
	archives  *prometheus.HistogramVec
	archived  prometheus.Counter

	// For a runner.
	executed      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	waited        *prometheus.HistogramVec
	limits        *prometheus.CounterVec
	spawned       *prometheus.HistogramVec
	spawnFailures *prometheus.CounterVec
	saves         *prometheus.HistogramVec
}

// NewMetrics returns metrics with a registry of their own. The registry also has the metrics of
// the Go runtime, of the process and of its build.
func NewMetrics(version, commit string) *Metrics {
	seconds := []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 3600}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),

		ended: counter("kaa_jobs_ended_total", "Attempts of jobs whose end this process has written, by the job's state then and the failure's code. "+
			"queued: it runs again; lost: this process does not know.", "state", "failure"),
		mended: counter("kaa_reconciled_total", "Disagreements of records, queues and registry that this process repaired, by kind.", "kind"),
		redisTime: histogram("kaa_redis_command_duration_seconds", "Time of a round trip to Redis, by its kind.",
			[]float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 2, 5}, "kind"),
		redisErrors: counter("kaa_redis_errors_total", "Round trips to Redis that failed, by kind, and connections that were not made.", "kind"),
		blobErrors:  counter("kaa_blob_errors_total", "Operations on the store of files that failed.", "op"),

		requests:  histogram("kaa_http_request_duration_seconds", "Time to answer an HTTP request. dialect: kaa, or the name of another protocol.", seconds, "dialect", "method", "route", "status"),
		problems:  counter("kaa_problems_total", "Answers that were problems, by their code: to requests, items of batches and frames of sockets.", "status", "code"),
		submitted: counter("kaa_jobs_submitted_total", "Jobs accepted by this process.", "queue"),
		webhooks:  histogram("kaa_webhook_duration_seconds", "Time of an attempt to deliver a webhook, by outcome: delivered, retry or failed.", seconds, "outcome"),
		archives:  histogram("kaa_batch_archive_duration_seconds", "Time of an attempt to write the archive of a batch, by outcome: written, retry, or left to another process.", seconds, "outcome"),
		archived:  prometheus.NewCounter(prometheus.CounterOpts{Name: "kaa_batch_archive_bytes_total", Help: "Bytes of the archives of batches that this process has written."}),

		executed: counter("kaa_executions_total", "Executions ended by this process, by the job's state and the result's status.", "state", "status"),
		duration: histogram("kaa_execution_duration_seconds", "Time from handing over the code to its end.", seconds, "status"),
		waited:   histogram("kaa_queue_wait_seconds", "Time a job was ready to run until this process took it.", seconds, "queue"),
		limits: counter("kaa_limit_hits_total", "Executions that met a limit: memory, cpu and timeout ended them; "+
			"of output, results and files something was left out.", "limit"),
		spawned:       histogram("kaa_worker_spawn_seconds", "Time to make an interpreter that is ready for an execution.", seconds, "runtime"),
		spawnFailures: counter("kaa_worker_spawn_failures_total", "Interpreters that could not be made.", "runtime"),
		saves:         histogram("kaa_volume_save_duration_seconds", "Time of an attempt to save the files of a session, with the wait for others, by outcome: saved, unchanged or failed.", seconds, "outcome"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kaa_build_info", Help: "Version and commit of this process; always 1."}, []string{"version", "commit", "go"})
	build.WithLabelValues(version, commit, runtime.Version()).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, m.ended, m.mended, m.redisTime, m.redisErrors, m.blobErrors)
	m.beginShared()
	return m
}

// Handler serves the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Request counts an HTTP request.
func (m *Metrics) Request(dialect, method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(dialect, method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Problem counts an answer that is a problem.
func (m *Metrics) Problem(status int, code string) {
	m.problems.WithLabelValues(strconv.Itoa(status), code).Inc()
}

// Webhook counts an attempt to deliver a webhook.
func (m *Metrics) Webhook(outcome string, took time.Duration) {
	m.webhooks.WithLabelValues(outcome).Observe(took.Seconds())
}

// Archived counts an attempt to write the archive of a batch.
func (m *Metrics) Archived(outcome string, bytes int64, took time.Duration) {
	m.archives.WithLabelValues(outcome).Observe(took.Seconds())
	if outcome == "written" {
		m.archived.Add(float64(bytes))
	}
}

// Submitted counts an accepted job.
func (m *Metrics) Submitted(queue string) { m.submitted.WithLabelValues(queue).Inc() }

// Reconciled counts a repair.
func (m *Metrics) Reconciled(kind string, n int) { m.mended.WithLabelValues(kind).Add(float64(n)) }

// Ended counts an end of a job, or of an attempt, that this process has written.
func (m *Metrics) Ended(state job.State, code job.FailureCode) {
	if code == "" {
		code = none
	}
	m.ended.WithLabelValues(string(state), string(code)).Inc()
}

// none is the label of an absent value.
const none = "none"

// Executed counts an execution that has ended.
func (m *Metrics) Executed(c job.Claim, o job.Outcome, took time.Duration) {
	status := none
	if o.Result != nil {
		status = string(o.Result.Status)
		m.limited(o.Result)
	}
	state := string(o.State)
	if state == "" {
		state = "lost"
	}
	m.executed.WithLabelValues(state, status).Inc()
	m.duration.WithLabelValues(status).Observe(took.Seconds())
	m.waited.WithLabelValues(c.Queue).Observe(c.Waited.Seconds())
}

func (m *Metrics) limited(r *job.Result) {
	for limit, met := range map[string]bool{
		string(r.Limit): r.Limit != "", "output": r.Truncated != nil, "results": r.ResultsDropped > 0, "files": r.FilesDropped != nil,
	} {
		if met {
			m.limits.WithLabelValues(limit).Inc()
		}
	}
}

// Spawned counts an interpreter that was made, or could not be made.
func (m *Metrics) Spawned(runtime string, took time.Duration, err error) {
	if err != nil {
		m.spawnFailures.WithLabelValues(runtime).Inc()
		return
	}
	m.spawned.WithLabelValues(runtime).Observe(took.Seconds())
}

// Saved counts an attempt to save the files of a session.
func (m *Metrics) Saved(outcome string, took time.Duration) {
	m.saves.WithLabelValues(outcome).Observe(took.Seconds())
}

// Redis counts a round trip. Blocking commands have no duration, since they wait for an event.
func (m *Metrics) Redis(kind string, took time.Duration, failed bool) {
	if failed {
		m.redisErrors.WithLabelValues(kind).Inc()
	}
	if kind != RedisBlocking {
		m.redisTime.WithLabelValues(kind).Observe(took.Seconds())
	}
}

// RedisFailed counts a connection to Redis that could not be made.
func (m *Metrics) RedisFailed(kind string) { m.redisErrors.WithLabelValues(kind).Inc() }

// BlobFailed counts a failed operation on the blob store.
func (m *Metrics) BlobFailed(op string) { m.blobErrors.WithLabelValues(op).Inc() }
