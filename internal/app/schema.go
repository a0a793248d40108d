package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

const (
	// schemaPeriod is the time between two looks at the version of the records.
	schemaPeriod = 30 * time.Second
	// schemaTime bounds a look.
	schemaTime = 2 * time.Second
)

// ownSchema is the version of the records of this build.
func ownSchema() store.SchemaConfig {
	return store.SchemaConfig{Schema: job.Schema{By: Version()}}
}

// schemaWatch knows whether the process may work on the records.
type schemaWatch struct {
	refusal atomic.Pointer[job.SchemaError]
}

// refused returns why the process may not work on the records; nil if it may.
func (w *schemaWatch) refused() error {
	if e := w.refusal.Load(); e != nil {
		return e
	}
	return nil
}

// awaitRecords waits for Redis as awaitRedis does, and agrees on the version of the records with
// the processes of other releases.
func (s *shared) awaitRecords(ctx context.Context, within time.Duration) error {
	if err := s.awaitRedis(ctx, within); err != nil {
		return err
	}
	return s.insist(ctx, func() error {
		_, err := s.store.AgreeOnSchema(ctx)
		return err
	})
}

// watchSchema looks at the version of the records from time to time. The returned context ends when
// a later release has raised it beyond what this process works on, or when ctx does. Call stop
// before Redis is closed or afterwards; it returns when the last look has ended.
func (s *shared) watchSchema(ctx context.Context) (_ context.Context, stop func()) {
	ctx, refuse := context.WithCancelCause(ctx)
	looks, stopLooks := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(cmp.Or(s.periods.Schema, schemaPeriod))
		defer tick.Stop()
		for {
			select {
			case <-looks.Done():
				return
			case <-tick.C:
			}
			if err := s.lookAtSchema(looks); err != nil {
				refuse(err)
				return
			}
		}
	})
	return ctx, func() {
		stopLooks()
		done.Wait()
		refuse(nil)
	}
}

// lookAtSchema returns an error if the process may not work on the records any more. A Redis that
// has lost them gets the version again.
func (s *shared) lookAtSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, schemaTime)
	defer cancel()
	v, err := s.store.Schema(ctx)
	if err == nil && v.Version == 0 {
		_, err = s.store.AgreeOnSchema(ctx)
	}
	refusal, ok := errors.AsType[*job.SchemaError](err)
	if !ok {
		if err != nil {
			s.log.DebugContext(ctx, "could not look at the version of the records", slog.Any("err", err))
		}
		return nil
	}
	s.schema.refusal.Store(refusal)
	s.log.ErrorContext(ctx, "the records are too new for this process: it stops", slog.Any("err", refusal))
	return refusal
}
