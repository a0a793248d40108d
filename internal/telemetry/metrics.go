// Package telemetry is what a process says of itself to operators: structured
// logs and Prometheus metrics. Each process has one registry of its own; nothing
// is global, so tests may have many. The app hands its parts to the api and the
// runner, which know only the interfaces they declare.
package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kaa-run/kaa/internal/job"
)

// Metrics counts what a process does. It is the Observer of the api and of the
// runner. Its methods never block and are safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.HistogramVec
	submitted *prometheus.CounterVec
	executed  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	waited    *prometheus.HistogramVec
	mended    *prometheus.CounterVec
	webhooks  *prometheus.HistogramVec
}

// NewMetrics returns metrics that are registered on a registry of their own,
// beside those of the Go runtime and the process.
func NewMetrics() *Metrics {
	seconds := []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 3600}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kaa_http_request_duration_seconds", Help: "Time to answer an HTTP request.", Buckets: seconds,
		}, []string{"method", "route", "status"}),
		submitted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kaa_jobs_submitted_total", Help: "Jobs accepted by this process.",
		}, []string{"queue"}),
		executed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kaa_executions_total", Help: "Executions ended by this process, by the job's state and the result's status.",
		}, []string{"state", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kaa_execution_duration_seconds", Help: "Time from handing over the code to its end.", Buckets: seconds,
		}, []string{"status"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kaa_queue_wait_seconds", Help: "Time a job was ready to run until this process took it.", Buckets: seconds,
		}, []string{"queue"}),
		mended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kaa_reconciled_total", Help: "Disagreements of records, queues and registry that this process repaired, by kind.",
		}, []string{"kind"}),
		webhooks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kaa_webhook_duration_seconds", Help: "Time of an attempt to deliver a webhook, by what came of it: delivered, retry or failed.", Buckets: seconds,
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.submitted, m.executed, m.duration, m.waited, m.mended, m.webhooks)
	return m
}

// Register adds a collector; the app uses it for what only it can see.
func (m *Metrics) Register(c prometheus.Collector) { m.registry.MustRegister(c) }

// Handler serves the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Request counts an HTTP request.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Webhook counts an attempt to deliver a webhook.
func (m *Metrics) Webhook(outcome string, took time.Duration) {
	m.webhooks.WithLabelValues(outcome).Observe(took.Seconds())
}

// Submitted counts an accepted job.
func (m *Metrics) Submitted(queue string) { m.submitted.WithLabelValues(queue).Inc() }

// Reconciled counts what was repaired.
func (m *Metrics) Reconciled(kind string, n int) { m.mended.WithLabelValues(kind).Add(float64(n)) }

// Executed counts an execution that has ended.
func (m *Metrics) Executed(c job.Claim, o job.Outcome, took time.Duration) {
	status := "none"
	if o.Result != nil {
		status = string(o.Result.Status)
	}
	state := string(o.State)
	if state == "" {
		state = "lost"
	}
	m.executed.WithLabelValues(state, status).Inc()
	m.duration.WithLabelValues(status).Observe(took.Seconds())
	m.waited.WithLabelValues(c.Queue).Observe(c.Waited.Seconds())
}
