package store

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Follow has the events of a job written from now on, unless the job has ended. It returns the
// job's state.
func (s *Store) Follow(ctx context.Context, id string) (job.State, error) {
	const op = "follow job"
	follow := func() (job.State, error) {
		r, err := s.run(ctx, op, s.scripts.follow, keys{{"job", jobKey(id)}}, args{{"id", id}})
		return job.State(r.word()), err
	}
	state, err := follow()
	if !errors.Is(err, job.ErrNotFound) {
		return state, err
	}
	switch j, pending := s.pending(ctx, op, id); {
	case pending == nil && j.State.Terminal():
		return j.State, nil
	case pending == nil: // only a record has events
		if err := s.feedOne(ctx, op, id, j.Owner); err != nil {
			return "", err
		}
		return follow()
	case errors.Is(pending, job.ErrStale):
		return follow()
	}
	return state, err
}

// AppendEvents writes events of a claim's attempt, which must be in order, and drops
// those before oldest, unless that is zero. job.ErrStale: the claim has been lost, or
// the job has ended, and nothing was written.
func (s *Store) AppendEvents(ctx context.Context, c job.Claim, oldest job.EventID, events []job.Event) error {
	from := ""
	if oldest != (job.EventID{}) {
		from = oldest.String()
	}
	each := make([]args, len(events))
	for i, e := range events {
		each[i] = args{{"seq", e.ID.Seq}, {"type", string(e.Type)}, {"size", e.Size}, {"data", []byte(e.Data)}}
	}
	_, err := s.run(ctx, "write events", s.scripts.events, keys{{"job", jobKey(c.JobID)}, {"events", eventsKey(c.JobID)}},
		args{{"id", c.JobID}, {"attempt", c.Attempt}, {"runner", c.Runner}, {"oldest", from}}, each...)
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

// LastEvents returns the events of a job before the one of that id, newest first, at most most of them; the zero id is behind all.
func (s *Store) LastEvents(ctx context.Context, id string, before job.EventID, most int) ([]job.Event, error) {
	const op = "read last events"
	from := "+"
	if before != (job.EventID{}) {
		from = "(" + before.String()
	}
	entries, err := s.rdb.XRevRangeN(ctx, eventsKey(id), from, "-", int64(most)).Result()
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
