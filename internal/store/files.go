package store

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// hasFiles marks an end that left files.
func hasFiles(o job.Outcome) string { return mark(o.Result != nil && len(o.Result.Files) > 0) }

// mark is how scripts take a yes.
func mark(yes bool) string {
	if yes {
		return "1"
	}
	return ""
}

// present returns the files of a result that were not deleted, and where they are: what
// was written by the attempt that finished, which is the last.
func present(j job.Job, dropped string) []job.File {
	files := j.Result.Files
	for i := range files {
		files[i].Key = job.OutputKey(j.ID, j.Attempt, files[i].Raw())
	}
	if dropped == "" {
		return files
	}
	gone := strings.Fields(dropped)
	return slices.DeleteFunc(files, func(f job.File) bool { return slices.Contains(gone, f.Key) })
}

// DropFile takes a file out of a job's result. Its blob is the caller's to delete, after
// that: so nothing is listed that is not there.
func (s *Store) DropFile(ctx context.Context, id, key string) error {
	_, err := s.run(ctx, "delete file", s.scripts.drop, []string{jobKey(id)}, id, key)
	return err
}

// Expired returns jobs with blobs whose records have expired, most at a time, until they
// are forgotten.
func (s *Store) Expired(ctx context.Context, most int) ([]string, error) {
	const op = "look for blobs of expired jobs"
	if some, err := s.exists(ctx, op, blobsKey); err != nil || !some {
		return nil, err
	}
	ids, err := s.scripts.expired.Run(ctx, s.rdb, []string{blobsKey}, most).StringSlice()
	return ids, wrap(op, err)
}

// ForgetBlobs notes that the blobs of jobs are deleted.
func (s *Store) ForgetBlobs(ctx context.Context, ids ...string) error {
	members := make([]any, len(ids))
	for i, id := range ids {
		members[i] = id
	}
	return wrap("forget blobs", s.rdb.ZRem(ctx, blobsKey, members...).Err())
}

// Unknown returns those of the ids for which there is no record.
func (s *Store) Unknown(ctx context.Context, ids []string) ([]string, error) {
	cmds := make([]*redis.IntCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			cmds[i] = p.Exists(ctx, jobKey(id))
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
