package store

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// HooksDue is the announcement of ListenDue that webhooks are due.
const HooksDue = "hooks"

// TakeHooks takes due webhooks, at most most of them. It returns the time until the next one is
// due; negative if there is none. A webhook that is not reported with SettleHook within the
// lease is due again.
func (s *Store) TakeHooks(ctx context.Context, most int, lease time.Duration) ([]job.Delivery, time.Duration, error) {
	v, err := s.call(ctx, s.scripts.hooks, keys{{"hooks", hooksKey}, {"batches", batchHooksKey}}, args{{"most", most}, {"lease", lease.Milliseconds()}}).Slice()
	if err != nil {
		return nil, 0, wrap("take webhooks", err)
	}
	r := reply(v)
	var taken []job.Delivery
	for i := 1; i+4 < len(r); i += 5 {
		d := job.Delivery{
			JobID: r.text(i), Attempt: int(atoi(r.text(i + 1))),
			Age: time.Duration(atoi(r.text(i+2))) * time.Millisecond, Secret: job.Secret(r.text(i + 3)), Owner: ownerOf(r.text(i + 4)),
		}
		if batch, percent, ok := strings.Cut(d.JobID, " "); ok {
			d.JobID, d.BatchID, d.Percent = "", batch, int(atoi(percent))
		}
		taken = append(taken, d)
	}
	return taken, time.Duration(atoi(r.text(0))) * time.Millisecond, nil
}

// PendingHooks returns the number of webhooks that are not delivered yet.
func (s *Store) PendingHooks(ctx context.Context) (int64, error) {
	var ofJobs, ofBatches *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		ofJobs, ofBatches = p.ZCard(ctx, hooksKey), p.ZCard(ctx, batchHooksKey)
		return nil
	})
	if err != nil {
		return 0, wrap("count webhooks", err)
	}
	return ofJobs.Val() + ofBatches.Val(), nil
}

// SettleHook records the outcome of an attempt. job.ErrStale: it is not the last attempt, or the
// webhook is delivered or given up.
func (s *Store) SettleHook(ctx context.Context, d job.Delivery, report job.Report) error {
	if d.BatchID != "" {
		_, err := s.runBatch(ctx, "settle webhook of batch", s.scripts.batchHooked, d.BatchID, args{
			{"id", d.BatchID},
			{"percent", d.Percent},
			{"attempt", d.Attempt},
			{"state", string(report.State)},
			{"wait", report.Next.Milliseconds()},
			{"status", report.Status},
			{"error", report.Error},
		})
		return err
	}
	_, err := s.run(ctx, "settle webhook", s.scripts.hooked, keys{{"hooks", hooksKey}, {"job", jobKey(d.JobID)}}, args{
		{"id", d.JobID},
		{"attempt", d.Attempt},
		{"state", string(report.State)},
		{"wait", report.Next.Milliseconds()},
		{"status", report.Status},
		{"error", report.Error},
		s.tombstone(),
	})
	return err
}
