package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kaa-run/kaa/internal/job"
)

// scrapeTimeout bounds the time that a scrape may wait for Redis.
const scrapeTimeout = 2 * time.Second

// Queues collects the state of the queues at each scrape; between scrapes it costs nothing.
type Queues struct {
	count                   func(context.Context) ([]job.QueueStats, error)
	jobs, oldest, reachable *prometheus.Desc
}

// NewQueues returns a collector of the numbers that count returns.
func NewQueues(count func(context.Context) ([]job.QueueStats, error)) *Queues {
	return &Queues{
		count:     count,
		jobs:      prometheus.NewDesc("kaa_queue_jobs", "Jobs in a queue by state.", []string{"queue", "state"}, nil),
		oldest:    prometheus.NewDesc("kaa_queue_oldest_seconds", "For how long the oldest waiting job has been ready to run.", []string{"queue"}, nil),
		reachable: prometheus.NewDesc("kaa_redis_up", "Whether Redis answered this scrape.", nil, nil),
	}
}

// Describe lists the metrics.
func (q *Queues) Describe(ch chan<- *prometheus.Desc) {
	ch <- q.jobs
	ch <- q.oldest
	ch <- q.reachable
}

// Collect reads the counts and reports them.
func (q *Queues) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	stats, err := q.count(ctx)
	if err != nil {
		gauge(q.reachable, 0)
		return
	}
	gauge(q.reachable, 1)
	for _, s := range stats {
		gauge(q.jobs, float64(s.Depth), s.Name, string(job.Queued))
		gauge(q.jobs, float64(s.Active), s.Name, string(job.Running))
		gauge(q.jobs, float64(s.Scheduled), s.Name, string(job.Scheduled))
		gauge(q.oldest, s.OldestAgeSec, s.Name)
	}
}
