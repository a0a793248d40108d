package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// A sample is a hash. Of a queue it has depth:<queue> and the like. Absent fields are 0. All processes add to the counts, and one of
// them writes the rest. It expires, so nothing has to be trimmed.

func sampleKey(number int64) string { return prefix + "sample:" + strconv.FormatInt(number, 10) }

// sampleTTL is how long a sample outlives its last change.
const sampleTTL = job.SamplesFor + 2*job.SampleEvery

// Sample writes down what the queues and the runners have now.
func (s *Store) Sample(ctx context.Context, now time.Time, queues []string) error {
	each := make([]args, len(queues))
	for i, q := range queues {
		each[i] = args{{"queue", q}}
	}
	return wrap("sample the fleet", s.call(ctx, s.scripts.sample, keys{{"sample", sampleKey(job.SampleNumber(now))}, {"runners", runnersKey}},
		args{{"ttl", sampleTTL.Milliseconds()}}, each...).Err())
}

// AddToSamples adds what a process counted to the samples, by their number and by queue.
func (s *Store) AddToSamples(ctx context.Context, counts map[int64]map[string]job.QueueCount) error {
	if len(counts) == 0 {
		return nil
	}
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for number, queues := range counts {
			key := sampleKey(number)
			for q, c := range queues {
				for field, n := range map[string]int64{
					"accepted": c.Accepted, "ended": c.Ended, "failed": c.Failed, "waited": c.Waited.Microseconds(), "took": c.Took.Microseconds(),
				} {
					if n != 0 {
						p.HIncrBy(ctx, key, field+":"+q, n)
					}
				}
			}
			p.PExpire(ctx, key, sampleTTL)
		}
		return nil
	})
	return wrap("count in samples", err)
}

// Samples returns the samples from a time on, the oldest first.
func (s *Store) Samples(ctx context.Context, from, now time.Time) ([]job.Sample, error) {
	first, last := job.SampleNumber(from), job.SampleNumber(now)
	first = max(first, last-int64(job.SamplesFor/job.SampleEvery))
	cmds := make([]*redis.MapStringStringCmd, 0, last-first+1)
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for n := first; n <= last; n++ {
			cmds = append(cmds, p.HGetAll(ctx, sampleKey(n)))
		}
		return nil
	})
	if err != nil {
		return nil, wrap("read samples", err)
	}
	samples := []job.Sample{}
	for i, cmd := range cmds {
		if f := cmd.Val(); len(f) > 0 {
			samples = append(samples, sampleOf(first+int64(i), f))
		}
	}
	return samples, nil
}

func sampleOf(number int64, fields map[string]string) job.Sample {
	sample := job.Sample{At: time.UnixMilli(number * job.SampleEvery.Milliseconds()).UTC(), Queues: []job.QueueSample{}}
	at := func(name string) int64 { return atoi(fields[name]) }
	if _, looked := fields["runners"]; looked {
		sample.Fleet = &job.FleetSample{
			Runners: at("runners"), Slots: at("slots"), Busy: at("busy"), Parked: at("parked"), Sessions: at("sessions"),
			MemoryBytes: at("memory"), MemoryLimit: at("memory_limit"),
		}
	}
	names := map[string]bool{}
	for field := range fields {
		if _, queue, ok := strings.Cut(field, ":"); ok {
			names[queue] = true
		}
	}
	for q := range names {
		ended := at("ended:" + q)
		mean := func(name string) float64 { return float64(at(name+":"+q)) / float64(max(1, ended)) / 1000 }
		sample.Queues = append(sample.Queues, job.QueueSample{
			Name: q, Depth: at("depth:" + q), Active: at("active:" + q), OldestAgeSec: float64(at("oldest:"+q)) / 1000,
			Accepted: at("accepted:" + q), Ended: ended, Failed: at("failed:" + q), WaitedMs: mean("waited"), TookMs: mean("took"),
		})
	}
	slices.SortFunc(sample.Queues, func(a, b job.QueueSample) int { return cmp.Compare(a.Name, b.Name) })
	return sample
}
