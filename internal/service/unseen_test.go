package service_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// lookups and batches have the methods that are not called.
type (
	lookups interface{ service.Lookup }
	batches interface{ service.Batches }
)

// noted are stores that note for whom records are read.
type noted struct {
	lookups
	batches
	viewers []job.Viewer
}

func (n *noted) Get(ctx context.Context, _ string) (job.Job, error) {
	n.viewers = append(n.viewers, job.ViewerIn(ctx))
	return job.Job{}, job.ErrNotFound
}

func (n *noted) Summary(ctx context.Context, id string) (job.Job, error) { return n.Get(ctx, id) }

func (n *noted) Batch(ctx context.Context, id string) (job.Batch, error) {
	_, _ = n.Get(ctx, id)
	return job.Batch{}, job.ErrNoBatch
}

// TestReadsForTheCaller: the store knows for whom it reads a record that a caller names, so that it can take the same time for those of others.
func TestReadsForTheCaller(t *testing.T) {
	t.Parallel()
	n := new(noted)
	s := service.New(service.Config{Lookup: n, Batches: n, Hub: service.NewHub("test"), Log: slog.New(slog.DiscardHandler)})
	c, id, batch := service.Caller{Tenant: "acme"}, "01989d3c-0000-7000-8000-000000000001", job.NewBatchID()
	_, one := s.Job(t.Context(), c, id, 0)
	_, _, two := s.Cancel(t.Context(), c, id)
	_, _, three := s.Batch(t.Context(), c, batch)
	if err := errors.Join(one, two); !errors.Is(one, job.ErrNotFound) || !errors.Is(two, job.ErrNotFound) || !errors.Is(three, job.ErrNoBatch) {
		t.Errorf("%v %v", err, three)
	}
	for i, v := range n.viewers {
		if v != (job.Viewer{Caller: "@acme"}) {
			t.Errorf("read %d is for %+v", i, v)
		}
	}
	if len(n.viewers) != 3 {
		t.Errorf("%d reads", len(n.viewers))
	}
}
