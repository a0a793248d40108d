package app

import (
	"context"
	"errors"
	"time"

	"github.com/kaa-run/kaa/internal/runner"
)

// startCleaner begins to delete the blobs of jobs that have expired.
func (s *shared) startCleaner(ctx context.Context) stage {
	c := runner.NewCleaner(s.store, countedBlobs{s.blobs, s.metrics}, s.periods.Periods, s.log)
	c.Start(ctx)
	return stage{"cleaner", 2 * time.Second, func(context.Context) error { c.Close(); return nil }}
}

// close closes the connections that every process has. It is called last.
func (s *shared) close() error { return errors.Join(s.blobs.Close(), s.rdb.Close()) }
