package telemetry

import (
	"cmp"
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kaa-run/kaa/internal/job"
)

// OtherTenants is the label of all tenants that have no figures of their own.
const OtherTenants = "other"

// Tenants collects what tenants took and store, at each scrape. The operator names the tenants, so there are as many series as the operator
// has decided.
type Tenants struct {
	sums    func(context.Context) ([]job.TenantSum, error)
	figures []tenantFigure
}

type tenantFigure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(job.TenantSum) float64
}

// NewTenants returns a collector of the figures that sums returns.
func NewTenants(sums func(context.Context) ([]job.TenantSum, error)) *Tenants {
	figure := func(name, help string, kind prometheus.ValueType, of func(job.TenantSum) float64) tenantFigure {
		return tenantFigure{prometheus.NewDesc(name, help, []string{"tenant"}, nil), kind, of}
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return &Tenants{sums: sums, figures: []tenantFigure{
		figure("kaa_tenant_executions_total", "Executions that have ended.", counter, func(s job.TenantSum) float64 { return float64(s.Executions) }),
		figure("kaa_tenant_run_seconds_total", "Time for which executions ran.", counter, func(s job.TenantSum) float64 { return s.Run.Seconds() }),
		figure("kaa_tenant_cpu_seconds_total", "Processor time of executions.", counter, func(s job.TenantSum) float64 { return s.CPU.Seconds() }),
		figure("kaa_tenant_memory_gib_seconds_total", "The most memory that executions held, in GiB, times the time for which they ran.", counter,
			func(s job.TenantSum) float64 { return s.MemoryGiBSeconds() }),
		figure("kaa_tenant_in_bytes_total", "Bytes of requests as they are kept, and of their files.", counter, func(s job.TenantSum) float64 { return float64(s.BytesIn) }),
		figure("kaa_tenant_out_bytes_total", "Bytes of results as they are kept, and of files that code left.", counter, func(s job.TenantSum) float64 { return float64(s.BytesOut) }),
		figure("kaa_tenant_session_seconds_total", "Time for which sessions lived that have ended.", counter, func(s job.TenantSum) float64 { return s.SessionTime.Seconds() }),
		figure("kaa_tenant_stored_bytes", "Bytes of records in Redis.", gauge, func(s job.TenantSum) float64 { return float64(s.Bytes) }),
		figure("kaa_tenant_stored_file_bytes", "Bytes of files in the blob store.", gauge, func(s job.TenantSum) float64 { return float64(s.Files) }),
	}}
}

// Describe lists the metrics.
func (t *Tenants) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range t.figures {
		ch <- f.desc
	}
}

// Collect reads the figures and reports them. If Redis does not answer, it reports none.
func (t *Tenants) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	sums, err := t.sums(ctx)
	if err != nil {
		return
	}
	for _, s := range sums {
		for _, f := range t.figures {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(s), cmp.Or(s.Tenant, OtherTenants))
		}
	}
}
