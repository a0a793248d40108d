package store

import (
	"cmp"
	"context"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Rate counts a request of a caller and reports whether it may pass: perSecond of them, and
// burst at once.
func (s *Store) Rate(ctx context.Context, caller string, perSecond float64, burst int) (job.Rate, error) {
	const op = "rate limit"
	v, err := s.call(ctx, s.scripts.rate, keys{{"rate", prefix + "rate:" + cmp.Or(caller, anonymous)}},
		args{{"cost", 1e6 / perSecond}, {"burst", burst}}).Slice()
	if err != nil {
		return job.Rate{}, wrap(op, err)
	}
	r := reply(v)
	return job.Rate{
		Allowed: r.text(0) == "1", Limit: burst, Remaining: int(atoi(r.text(1))),
		RetryAfter: time.Duration(atoi(r.text(2))) * time.Microsecond, Reset: time.Duration(atoi(r.text(3))) * time.Microsecond,
	}, nil
}
