package store

import (
	"cmp"
	"context"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// ofKey distinguishes the rate of a key from that of its owner.
const ofKey = "key:"

// Rate counts a request of a caller and of its key, and reports whether it may pass. One of the
// limits may be none.
func (s *Store) Rate(ctx context.Context, caller string, all job.RateLimit, key string, own job.RateLimit) (job.Rate, error) {
	const op = "rate limit"
	var each []args
	var limits []job.RateLimit
	add := func(of string, l job.RateLimit) {
		if l.PerSecond > 0 {
			each, limits = append(each, args{{"of", of}, {"cost", 1e6 / l.PerSecond}, {"burst", l.Burst}}), append(limits, l)
		}
	}
	add(cmp.Or(caller, anonymous), all)
	add(ofKey+key, own)
	v, err := s.call(ctx, s.scripts.rate, keys{{"rate", prefix + "rate:" + cmp.Or(caller, anonymous)}}, nil, each...).Slice()
	if err != nil {
		return job.Rate{}, wrap(op, err)
	}
	r := reply(v)
	which := int(atoi(r.text(4)))
	return job.Rate{
		Allowed: r.text(0) == "1", Limit: limits[which].Burst, OfKey: own.PerSecond > 0 && which == len(limits)-1, Remaining: int(atoi(r.text(1))),
		RetryAfter: time.Duration(atoi(r.text(2))) * time.Microsecond, Reset: time.Duration(atoi(r.text(3))) * time.Microsecond,
	}, nil
}
