package config

import (
	"fmt"
	"runtime"

	"github.com/kaa-run/kaa/internal/job"
)

// Quotas are what one execution may use: by default, and at most if it asks. Each limit of
// job.LimitTable has two settings.
type Quotas struct {
	byDefault, ceiling job.Quota // as they are set
}

// Names of the settings of a limit.
func defaultSetting(l *job.Limit) string { return "KAA_" + l.Setting }
func ceilingSetting(l *job.Limit) string { return "KAA_MAX_" + l.Setting }

// quotaSettings are the settings of the limits.
func quotaSettings() (all []Setting) {
	for _, l := range job.LimitTable() {
		all = append(all, Setting{Name: defaultSetting(l), Default: l.Text(&l.Standard)}, Setting{Name: ceilingSetting(l), Default: l.Text(&l.Ceiling)})
	}
	return all
}

// readQuotas reads the settings. It returns the names of those that it cannot read, with their errors.
func (q *Quotas) readQuotas(vars map[string]string) (problems []error, unread []string) {
	for _, l := range job.LimitTable() {
		l.Copy(&q.byDefault, &l.Standard)
		l.Copy(&q.ceiling, &l.Ceiling)
		for name, into := range map[string]*job.Quota{defaultSetting(l): &q.byDefault, ceilingSetting(l): &q.ceiling} {
			if vars[name] == "" {
				continue
			}
			if err := l.Parse(into, vars[name]); err != nil {
				problems, unread = append(problems, fmt.Errorf("%s: %w", name, err)), append(unread, name)
			}
		}
	}
	return problems, unread
}

// DefaultQuota is what an execution may use that asks for nothing. It is within
// MaxQuota.
func (q Quotas) DefaultQuota() job.Quota {
	d := q.byDefault
	for _, l := range job.LimitTable() {
		// No limit would be above every ceiling.
		if l.Unlimited && l.IsZero(&d) || l.Lowered && l.Less(&q.ceiling, &d) {
			l.Copy(&d, &q.ceiling)
		}
	}
	return d
}

// MaxQuota is the most that an execution may ask for.
func (q Quotas) MaxQuota() job.Quota {
	m := q.ceiling
	if m.CPUs == 0 {
		// The default counts as well: one configuration serves an API on a small
		// machine and runners on large ones.
		m.CPUs = max(float64(runtime.NumCPU()), q.byDefault.CPUs)
	}
	return m
}

// check reports what is out of bounds, or does not fit together.
func (q Quotas) check(bad func(format string, args ...any)) {
	for _, l := range job.LimitTable() {
		orNone, orZero := "", ""
		if l.Unlimited {
			orNone = ", or " + l.Text(new(job.Quota))
		}
		if l.ZeroCeiling != "" {
			orZero = fmt.Sprintf(", or %s for %s", l.Text(new(job.Quota)), l.ZeroCeiling)
		}
		none := l.Unlimited && l.IsZero(&q.byDefault)
		if least, below := l.Below(&q.byDefault); below && !none {
			bad("%s must be at least %s%s", defaultSetting(l), least, orNone)
		}
		if least, below := l.Below(&q.ceiling); below {
			if l.ZeroCeiling == "" || !l.IsZero(&q.ceiling) {
				bad("%s must be at least %s%s", ceilingSetting(l), least, orZero)
			}
		} else if !l.Lowered && l.Less(&q.ceiling, &q.byDefault) {
			bad("%s (%s) is above %s (%s)", defaultSetting(l), l.Text(&q.byDefault), ceilingSetting(l), l.Text(&q.ceiling))
		}
	}
}
