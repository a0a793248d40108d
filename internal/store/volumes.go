package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// volumeSaving is how long after the end of a session its volume waits for its runner to save the files. It is longer than
	// a runner saves.
	volumeSaving = 3 * time.Minute
	// volumeReplaced is how long a snapshot is kept that another one has replaced: longer than a Redis that crashes forgets.
	volumeReplaced = 10 * time.Second
	// snapshotLease is how long a snapshot may be written. The cleaner deletes one that was not saved within it.
	snapshotLease = 10 * time.Minute
)

func volumeInUse(name string, r reply) *job.VolumeInUseError {
	return &job.VolumeInUseError{Name: name, Session: r.text(1), Saving: r.text(2) == "saving"}
}

// TakeVolume has a session's runner restore and save the volume of the session. It returns nil if the session has none.
// job.ErrStale: the session has ended, or is another runner's.
func (s *Store) TakeVolume(ctx context.Context, session, runner string) (*job.HeldVolume, error) {
	r, err := s.run(ctx, "take volume", s.scripts.takeVolume, keys{{"session", sessionKey(session)}}, args{{"session", session}, {"runner", runner}})
	if err != nil || r.word() == "none" {
		return nil, err
	}
	return &job.HeldVolume{Session: session, Runner: runner, Caller: r.text(1), Name: r.text(2), Snapshot: r.text(3)}, nil
}

// RoomForSnapshot counts the bytes of a snapshot that is being written. It fails with a job.FilesFullError if there is no room
// for them. job.ErrStale: the volume is not that session's any more.
func (s *Store) RoomForSnapshot(ctx context.Context, v job.HeldVolume, id string, bytes int64) error {
	const op = "make room for a snapshot"
	r, err := s.run(ctx, op, s.scripts.roomVolume, keys{{"session", sessionKey(v.Session)}}, args{
		{"session", v.Session},
		{"runner", v.Runner},
		{"caller", v.Caller},
		{"name", v.Name},
		{"snapshot", id},
		{"bytes", bytes},
		{"lease", snapshotLease.Milliseconds()},
	})
	if err == nil && r.word() == "full" {
		err = fmt.Errorf("%s: %w", op, &job.FilesFullError{All: r.text(1) == "all", Held: atoi(r.text(2)), Limit: atoi(r.text(3))})
	}
	return err
}

// SaveVolume makes a snapshot that is written the one of its volume. job.ErrStale: the volume is not that session's any more.
func (s *Store) SaveVolume(ctx context.Context, v job.HeldVolume, n job.Snapshot) error {
	_, err := s.run(ctx, "save volume", s.scripts.saveVolume, keys{{"session", sessionKey(v.Session)}}, args{
		{"session", v.Session},
		{"runner", v.Runner},
		{"caller", v.Caller},
		{"name", v.Name},
		{"snapshot", n.ID},
		{"bytes", n.Bytes},
		{"kept", job.Footprint(n.Bytes)},
		{"entries", n.Entries},
		{"skipped", n.Skipped},
	})
	return err
}

// LeaveVolume notes why the files of a session could not be saved, if why is not empty. With leaves the runner saves no more, and another
// session may use the volume. job.ErrStale: the volume is not that session's any more.
func (s *Store) LeaveVolume(ctx context.Context, v job.HeldVolume, why string, leaves bool) error {
	_, err := s.run(ctx, "leave volume", s.scripts.leaveVolume, keys{{"session", sessionKey(v.Session)}}, args{
		{"session", v.Session},
		{"runner", v.Runner},
		{"caller", v.Caller},
		{"name", v.Name},
		{"error", why},
		{"leaves", mark(leaves)},
	})
	return err
}

// DropVolume deletes a volume of a caller. job.ErrNoVolume: there is none of that name. A job.VolumeInUseError: a session uses it.
func (s *Store) DropVolume(ctx context.Context, caller, name string) error {
	const op = "delete volume"
	r, err := s.run(ctx, op, s.scripts.dropVolume, nil, args{{"caller", cmp.Or(caller, anonymous)}, {"name", name}})
	switch {
	case err != nil:
		return err
	case r.word() == "no_volume":
		return fmt.Errorf("%s: %w", op, job.ErrNoVolume)
	case r.word() == "in_use":
		return fmt.Errorf("%s: %w", op, volumeInUse(name, r))
	}
	return nil
}

// Volumes returns a page of a caller's volumes in the order of their names, and the cursor of the next page.
func (s *Store) Volumes(ctx context.Context, caller, cursor string, limit int) (all []job.Volume, next string, err error) {
	from := "-"
	if cursor != "" {
		from = "(" + cursor
	}
	all, err = s.readVolumes(ctx, caller, from, "+", limit+1)
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].Name
	}
	return all, next, err
}

// Volume returns a volume of a caller. job.ErrNoVolume: there is none of that name.
func (s *Store) Volume(ctx context.Context, caller, name string) (job.Volume, error) {
	all, err := s.readVolumes(ctx, caller, "["+name, "["+name, 1)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("get volume: %w", job.ErrNoVolume)
	}
	if err != nil {
		return job.Volume{}, err
	}
	return all[0], nil
}

func (s *Store) readVolumes(ctx context.Context, caller, from, to string, most int) ([]job.Volume, error) {
	v, err := s.call(ctx, s.scripts.volumes, nil, args{{"caller", cmp.Or(caller, anonymous)}, {"from", from}, {"to", to}, {"most", most}}).Slice()
	if err != nil {
		return nil, wrap("read volumes", err)
	}
	all := make([]job.Volume, len(v))
	for i, one := range v {
		fields, _ := one.([]any)
		r := reply(fields)
		all[i] = job.Volume{
			Name: r.text(0), CreatedAt: parseMillis(r.text(1)), SavedAt: parseMillis(r.text(2)), Bytes: atoi(r.text(3)), Entries: int(atoi(r.text(4))),
			ExpiresAt: parseMillis(r.text(5)), Session: r.text(6), Error: r.text(7), ErrorAt: parseMillis(r.text(8)), Skipped: int(atoi(r.text(9))),
		}
	}
	return all, nil
}

// UnknownSnapshots returns those of the ids of snapshots for which nothing is counted: their blobs are left over.
func (s *Store) UnknownSnapshots(ctx context.Context, ids []string) ([]string, error) {
	cmds := make([]*redis.IntCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			cmds[i] = p.Exists(ctx, prefix+"kept:"+job.SnapshotOwner(id))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap("look for records of snapshots", err)
	}
	var unknown []string
	for i, id := range ids {
		if cmds[i].Val() == 0 {
			unknown = append(unknown, id)
		}
	}
	return unknown, nil
}
