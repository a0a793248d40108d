package store

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

func commandOutputKey(id string) string    { return prefix + "job:" + id + ":output" }
func commandFollowersKey(id string) string { return prefix + "job:" + id + ":followers" }

func outputKeys(id string) keys {
	return keys{{"job", jobKey(id)}, {"output", commandOutputKey(id)}, {"followers", commandFollowersKey(id)}}
}

// AttachOutput makes a follower one of those that get all output of a claim's command as bytes, from a position
// on. job.ErrStale: the claim is lost, or the command has ended.
func (s *Store) AttachOutput(ctx context.Context, c job.Claim, follower string, at uint64, pid int) error {
	_, err := s.run(ctx, "attach to a command", s.scripts.attach, outputKeys(c.JobID), args{
		{"id", c.JobID},
		{"attempt", c.Attempt},
		{"runner", c.Runner},
		{"follower", follower},
		{"at", at},
		{"pid", pid},
		{"lease", job.AttachLease.Milliseconds()},
		{"cost", job.AttachCost},
	})
	return err
}

// AppendOutput writes output of a claim's command for its followers. taken is the position up to which all of them have
// taken it. followed is false if there are none; then nothing is written. With waits, TookOutput of a follower notifies the runner.
func (s *Store) AppendOutput(ctx context.Context, c job.Claim, waits bool, out ...job.CommandOutput) (taken uint64, followed bool, err error) {
	each := make([]args, len(out))
	for i, o := range out {
		each[i] = args{{"at", o.At}, {"kind", o.Kind}, {"data", o.Data}}
	}
	r, err := s.run(ctx, "write output", s.scripts.output, outputKeys(c.JobID), args{
		{"id", c.JobID}, {"attempt", c.Attempt}, {"runner", c.Runner}, {"lease", job.AttachLease.Milliseconds()}, {"waits", cmp.Or(mark(waits), "0")},
	}, each...)
	if err != nil || r.word() == "none" {
		return 0, false, err
	}
	return uint64(atoi(r.text(1))), true, nil //nolint:gosec // a position
}

// TookOutput says that a follower has taken the output up to a position, and that it is still there. lost: the command
// does not wait for it any more, so it may have missed some.
func (s *Store) TookOutput(ctx context.Context, id, follower string, at uint64) (lost bool, err error) {
	return s.took(ctx, id, follower, strconv.FormatUint(at, 10))
}

// LeaveOutput ends the attachment of a follower.
func (s *Store) LeaveOutput(ctx context.Context, id, follower string) error {
	_, err := s.took(ctx, id, follower, "")
	return err
}

func (s *Store) took(ctx context.Context, id, follower, at string) (lost bool, err error) {
	r, err := s.run(ctx, "take output", s.scripts.taken, outputKeys(id), args{
		{"id", id}, {"follower", follower}, {"at", at}, {"lease", job.AttachLease.Milliseconds()},
	})
	return r.word() == "lost", err
}

// Output returns output of a command after a position, in its order.
func (s *Store) Output(ctx context.Context, id string, attempt int, after uint64, most int) ([]job.CommandOutput, error) {
	const op = "read output"
	from := "-"
	if attempt > 0 {
		from = fmt.Sprintf("(%d-%d", attempt, after)
	}
	entries, err := s.rdb.XRangeN(ctx, commandOutputKey(id), from, "+", int64(most)).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	all := make([]job.CommandOutput, len(entries))
	for i, e := range entries {
		if all[i], err = outputOf(e); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return all, nil
}

func outputOf(e redis.XMessage) (o job.CommandOutput, err error) {
	attempt, at, _ := strings.Cut(e.ID, "-")
	if o.Attempt, err = strconv.Atoi(attempt); err != nil {
		return o, err
	}
	if o.At, err = strconv.ParseUint(at, 10, 64); err != nil {
		return o, err
	}
	o.Kind, _ = e.Values["k"].(string)
	data, _ := e.Values["d"].(string)
	o.Data = []byte(data)
	return o, nil
}
