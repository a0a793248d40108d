package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Kept are the store's methods for the Cleaner.
type Kept interface {
	// Expired returns the owners of blobs that are to be deleted: jobs whose records have expired, and snapshots of volumes.
	Expired(ctx context.Context, most int) ([]string, error)
	// ForgetBlobs records that the blobs of owners are deleted.
	ForgetBlobs(ctx context.Context, ids ...string) error
	// Unknown returns those of the ids for which there is no record.
	Unknown(ctx context.Context, ids []string) ([]string, error)
	// UnknownSnapshots returns those of the ids of snapshots for which nothing is counted.
	UnknownSnapshots(ctx context.Context, ids []string) ([]string, error)
	// Elect reports whether the calling process is the one that does something in a period.
	Elect(ctx context.Context, what string, period time.Duration) (bool, error)
}

// Garbage are the blob storage's methods for the Cleaner.
type Garbage interface {
	List(ctx context.Context, prefix string, before time.Time) ([]string, error)
	DeleteAll(ctx context.Context, prefix string) error
}

const (
	// orphansEvery is the period in which one process looks for blobs without a record. They
	// come from processes that died between writing them and recording the job or its end.
	orphansEvery = time.Hour
	// orphanAge is the least age of such a blob, because a blob is written before its record.
	orphanAge = time.Hour
)

// Cleaner deletes the blobs of jobs whose records have expired. Any number of processes may have
// one. It tries a deletion again that has failed.
type Cleaner struct {
	kept    Kept
	garbage Garbage
	period  time.Duration
	log     *slog.Logger
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// NewCleaner returns a cleaner that has not started yet.
func NewCleaner(kept Kept, garbage Garbage, periods Periods, log *slog.Logger) *Cleaner {
	return &Cleaner{kept: kept, garbage: garbage, period: periods.withDefaults().Sweep, log: log}
}

// Start begins to clean; Close ends it.
func (c *Cleaner) Start(ctx context.Context) {
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.done.Go(func() {
		every(ctx, c.period, func() { c.warn(ctx, "delete blobs of expired jobs", c.Expired(ctx)) })
	})
	c.done.Go(func() {
		every(ctx, orphansEvery/4, func() {
			mine, err := c.kept.Elect(ctx, "orphans", orphansEvery)
			if err == nil && mine {
				err = errors.Join(c.Orphans(ctx, time.Now().Add(-orphanAge)), c.OldPackages(ctx, time.Now().Add(-job.PackagesKept)))
			}
			c.warn(ctx, "look for blobs without a job", err)
		})
	})
}

func (c *Cleaner) warn(ctx context.Context, doing string, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, doing, slog.Any("err", err))
	}
}

// Close ends the cleaning and waits for it.
func (c *Cleaner) Close() {
	c.stop()
	c.done.Wait()
}

// Expired deletes the blobs of jobs whose records have expired.
func (c *Cleaner) Expired(ctx context.Context) error {
	for {
		ids, err := c.kept.Expired(ctx, batch)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := c.garbage.DeleteAll(ctx, job.BlobPrefix(id)); err != nil {
				return err
			}
			// After the deletion: Expired returns the job again if that fails.
			if err := c.kept.ForgetBlobs(ctx, id); err != nil {
				return err
			}
		}
	}
}

// OldPackages deletes sets of packages that were written before a time. The next runner that needs one installs it anew, with the
// versions that the index has by then.
func (c *Cleaner) OldPackages(ctx context.Context, before time.Time) error {
	keys, err := c.garbage.List(ctx, job.PackagesPrefix, before)
	for _, key := range keys {
		if err == nil {
			err = c.garbage.DeleteAll(ctx, key)
		}
	}
	return err
}

// Orphans deletes blobs that were written before a time and belong to no job, no batch and no volume.
func (c *Cleaner) Orphans(ctx context.Context, before time.Time) error {
	const parts = 256 // as job.KeyPrefix divides them
	for part := range parts {
		err := c.orphans(ctx, fmt.Sprintf("%02x/", part), before, job.OwnerOfKey, job.KeyPrefix, c.kept.Unknown)
		if err != nil {
			return err
		}
	}
	if err := c.orphans(ctx, job.ArchivesPrefix, before, job.BatchOfKey, job.ArchivePrefix, c.kept.Unknown); err != nil {
		return err
	}
	return c.orphans(ctx, job.SnapshotsPrefix, before, job.SnapshotOfKey, job.BlobPrefix, func(ctx context.Context, ids []string) ([]string, error) {
		unknown, err := c.kept.UnknownSnapshots(ctx, ids)
		for i, id := range unknown {
			unknown[i] = job.SnapshotOwner(id)
		}
		return unknown, err
	})
}

// orphans does that for the keys of a prefix. ownerOf returns the owner of a key, unknownOf those of the owners that are
// not known, and keysOf how the keys of such begin.
func (c *Cleaner) orphans(ctx context.Context, prefix string, before time.Time, ownerOf, keysOf func(string) string, unknownOf func(ctx context.Context, ids []string) ([]string, error)) error {
	keys, err := c.garbage.List(ctx, prefix, before)
	if err != nil {
		return err
	}
	owners := make(map[string]bool, len(keys))
	for _, key := range keys {
		if id := ownerOf(key); id != "" { // Kaa did not write other keys
			owners[id] = true
		}
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(owners)), batch) {
		unknown, err := unknownOf(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range unknown {
			c.log.WarnContext(ctx, "blobs of no job are deleted", slog.String("job_id", id))
			if err := c.garbage.DeleteAll(ctx, keysOf(id)); err != nil {
				return err
			}
			if err := c.kept.ForgetBlobs(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
