package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// filesOf gives scripts the bytes of the files that an attempt left; an empty text if it left
// none.
func filesOf(o job.Outcome) string {
	if o.Result == nil || len(o.Result.Files) == 0 {
		return ""
	}
	var bytes int64
	for _, f := range o.Result.Files {
		bytes += job.Footprint(f.Size)
	}
	return strconv.FormatInt(bytes, 10)
}

// present returns the files of a result that were not deleted. The keys of deleted ones name the
// attempt that finished, which is the last.
func present(j job.Job, dropped string) []job.File {
	if dropped == "" {
		return j.Result.Files
	}
	gone := strings.Fields(dropped)
	return slices.DeleteFunc(j.Result.Files, func(f job.File) bool { return slices.Contains(gone, j.OutputKey(f)) })
}

// inputsLease is the time for which files may exist before their job is recorded. A caller that
// needs longer to store them calls RoomForInputs again.
const inputsLease = 10 * time.Minute

// inputsPart is the part of a job's files that came with it; that of an attempt is its number.
const inputsPart = "in"

// RoomForInputs reserves room for all files of a job that is not recorded yet, before they are
// stored. It fails with a job.FilesFullError if there is no room for them.
func (s *Store) RoomForInputs(ctx context.Context, id, caller string, bytes int64) error {
	return s.room(ctx, id, args{
		{"id", id},
		{"part", inputsPart},
		{"bytes", bytes},
		{"lease", inputsLease.Milliseconds()},
		{"caller", cmp.Or(caller, anonymous)},
		{"alone", mark(s.cfg.OneCaller)},
		{"runner", ""},
	})
}

// RoomForOutputs reserves room for all files that an attempt leaves, before they are stored. It
// fails with a job.FilesFullError if there is no room for them, and with job.ErrStale if the
// claim is not the current one.
func (s *Store) RoomForOutputs(ctx context.Context, c job.Claim, bytes int64) error {
	return s.room(ctx, c.JobID, args{
		{"id", c.JobID},
		{"part", strconv.Itoa(c.Attempt)},
		{"bytes", bytes},
		{"lease", 0},
		{"caller", ""},
		{"alone", ""},
		{"runner", c.Runner},
	})
}

func (s *Store) room(ctx context.Context, id string, part args) error {
	const op = "make room for files"
	r, err := s.run(ctx, op, s.scripts.room, keys{{"job", jobKey(id)}}, part)
	if err == nil && r.word() == "full" {
		err = fmt.Errorf("%s: %w", op, &job.FilesFullError{All: r.text(1) == "all", Held: atoi(r.text(2)), Limit: atoi(r.text(3))})
	}
	return err
}

// DropFile removes a file of so many bytes from a job's result, and from the count of its
// caller's files. The caller of DropFile deletes the blob afterwards, so that no missing file is
// listed.
func (s *Store) DropFile(ctx context.Context, id, key string, bytes int64) error {
	_, err := s.run(ctx, "delete file", s.scripts.drop, keys{{"job", jobKey(id)}},
		args{{"id", id}, {"file", key}, {"bytes", job.Footprint(bytes)}})
	return err
}

// Expired returns jobs and batches with blobs whose records have expired, at most most of them. It returns
// them again until ForgetBlobs is called.
func (s *Store) Expired(ctx context.Context, most int) ([]string, error) {
	const op = "look for blobs of expired jobs"
	if some, err := s.exists(ctx, op, blobsKey); err != nil || !some {
		return nil, err
	}
	ids, err := s.call(ctx, s.scripts.expired, keys{{"blobs", blobsKey}}, args{{"most", most}}).StringSlice()
	return ids, wrap(op, err)
}

// ForgetBlobs records that the blobs of jobs are deleted, and releases their room.
func (s *Store) ForgetBlobs(ctx context.Context, ids ...string) error {
	each := make([]args, len(ids))
	for i, id := range ids {
		each[i] = args{{"id", id}}
	}
	_, err := s.run(ctx, "forget blobs", s.scripts.forget, keys{{"blobs", blobsKey}}, nil, each...)
	return err
}

// Unknown returns those of the ids, of jobs and of batches, for which there is no record.
func (s *Store) Unknown(ctx context.Context, ids []string) ([]string, error) {
	cmds := make([]*redis.IntCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			key := jobKey(id)
			if job.IsBatchID(id) {
				key = batchKey(id)
			}
			cmds[i] = p.Exists(ctx, key)
		}
		return nil
	})
	if err != nil {
		return nil, wrap("look for records of blobs", err)
	}
	var unknown []string
	for i, id := range ids {
		if cmds[i].Val() == 0 {
			unknown = append(unknown, id)
		}
	}
	return unknown, nil
}
