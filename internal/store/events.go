package store

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Follow has the events of a job written from now on, unless the job has ended. It returns the
// job's state.
func (s *Store) Follow(ctx context.Context, id string) (job.State, error) {
	r, err := s.run(ctx, "follow job", s.scripts.follow, []string{jobKey(id)}, id)
	return job.State(r.word()), err
}

// AppendEvents writes events of a claim's attempt, which must be in order, and drops
// those before oldest, unless that is zero. job.ErrStale: the claim has been lost, or
// the job has ended, and nothing was written.
func (s *Store) AppendEvents(ctx context.Context, c job.Claim, oldest job.EventID, events []job.Event) error {
	from := ""
	if oldest != (job.EventID{}) {
		from = oldest.String()
	}
	args := make([]any, 0, 4+4*len(events))
	args = append(args, c.JobID, c.Attempt, c.Runner, from)
	for _, e := range events {
		args = append(args, e.ID.Seq, string(e.Type), e.Size, []byte(e.Data))
	}
	_, err := s.run(ctx, "write events", s.scripts.events, []string{jobKey(c.JobID), eventsKey(c.JobID)}, args...)
	return err
}

// Events returns the events of a job after the one of that id, oldest first, at most most of
// them. A job that had no follower before its end has none.
func (s *Store) Events(ctx context.Context, id string, after job.EventID, most int) ([]job.Event, error) {
	const op = "read events"
	entries, err := s.rdb.XRangeN(ctx, eventsKey(id), "("+after.String(), "+", int64(most)).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	events := make([]job.Event, len(entries))
	for i, entry := range entries {
		if events[i], err = eventOf(entry); err != nil {
			return nil, wrap(op, err)
		}
	}
	return events, nil
}

func eventOf(entry redis.XMessage) (job.Event, error) {
	id, err := job.ParseEventID(entry.ID)
	if err != nil {
		return job.Event{}, err
	}
	text := func(name string) string {
		v, _ := entry.Values[name].(string)
		return v
	}
	if id.Ends() {
		return job.Event{ID: id, Type: job.EventStatus}, nil
	}
	size, err := strconv.ParseUint(text("n"), 10, 64)
	return job.Event{ID: id, Type: job.EventType(text("t")), Size: size, Data: json.RawMessage(text("d"))}, err
}
