package store

import (
	"context"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// ArchivesDue is the announcement of ListenDue that archives of batches are due.
	ArchivesDue = "archives"
	// archiveLook is the time between two looks at a batch that is to have an archive and has not ended. Its end announces itself, so
	// only the end that a process of an older Kaa makes is found by a look.
	archiveLook = 5 * time.Minute
)

// TakeArchive takes the archive of a batch that has ended, under a lease; nil if none is due. It returns the time until the next one is due;
// negative if there is none. last is the owner of the archive before, who comes after others.
func (s *Store) TakeArchive(ctx context.Context, token, last string, lease time.Duration) (*job.ArchiveClaim, time.Duration, error) {
	const op = "take archive"
	if some, err := s.exists(ctx, op, batchArchivesKey); err != nil || !some {
		return nil, -1, err
	}
	v, err := s.call(ctx, s.scripts.archives, keys{{"archives", batchArchivesKey}},
		args{{"token", token}, {"lease", lease.Milliseconds()}, {"unended", archiveLook.Milliseconds()}, {"last", last}}).Slice()
	if err != nil {
		return nil, 0, wrap(op, err)
	}
	r := reply(v)
	if len(r) == 1 {
		return nil, time.Duration(atoi(r.text(0))) * time.Millisecond, nil
	}
	return &job.ArchiveClaim{Batch: r.text(1), Owner: r.text(2), Attempt: int(atoi(r.text(3))), Token: token}, 0, nil
}

// LeaveArchive has an archive due again after a time, for this process or another one. why is the reason, or empty for a longer lease. It fails with
// job.ErrStale if another process has taken the archive.
func (s *Store) LeaveArchive(ctx context.Context, c job.ArchiveClaim, wait time.Duration, why string) error {
	return s.archived(ctx, "lease archive", c, strconv.FormatInt(wait.Milliseconds(), 10), job.BatchArchive{Error: why})
}

// ArchiveWritten says that an archive is in the blob store. It fails with job.ErrStale if another process has taken the archive.
func (s *Store) ArchiveWritten(ctx context.Context, c job.ArchiveClaim, n job.BatchArchive) error {
	return s.archived(ctx, "record archive", c, "", n)
}

func (s *Store) archived(ctx context.Context, op string, c job.ArchiveClaim, wait string, n job.BatchArchive) error {
	r, err := s.run(ctx, op, s.scripts.archived, keys{{"batch", batchKey(c.Batch)}, {"archives", batchArchivesKey}}, args{
		{"id", c.Batch},
		{"token", c.Token},
		{"wait", wait},
		{"error", n.Error},
		{"bytes", n.Bytes},
		{"results", n.Results},
		{"expired", n.Expired},
	})
	if err == nil {
		err = batchError(op, r)
	}
	return err
}
