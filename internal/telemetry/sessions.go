package telemetry

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kaa-run/kaa/internal/job"
)

// Sessions collects the number of live sessions at each scrape.
type Sessions struct {
	count    func(context.Context) (map[job.SessionState]int64, error)
	sessions *prometheus.Desc
}

// NewSessions returns a collector of the numbers that count returns.
func NewSessions(count func(context.Context) (map[job.SessionState]int64, error)) *Sessions {
	return &Sessions{count: count, sessions: prometheus.NewDesc("kaa_sessions", "Sessions that live, by state.", []string{"state"}, nil)}
}

// Describe lists the metric.
func (s *Sessions) Describe(ch chan<- *prometheus.Desc) { ch <- s.sessions }

// Collect reads the counts and reports them. If Redis does not answer, it reports none.
func (s *Sessions) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	counts, err := s.count(ctx)
	if err != nil {
		return
	}
	for state, n := range counts {
		ch <- prometheus.MustNewConstMetric(s.sessions, prometheus.GaugeValue, float64(n), string(state))
	}
}
