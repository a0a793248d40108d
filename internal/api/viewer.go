package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
)

// adminKey is the context key of a caller who may see what is everybody's.
type adminKey struct{}

// viewerOf is who a request is of, for what he may see.
func viewerOf(ctx context.Context) job.Viewer {
	return job.Viewer{Caller: shortCaller(ctx), All: ctx.Value(adminKey{}) != nil}
}

// visible looks a job up for the caller. What is not for his eyes is answered as if it had
// never been. Every route that takes the id of a job begins with it.
func (s *server) visible(ctx context.Context, id string, look func(context.Context, string) (job.Job, error)) (job.Job, error) {
	viewer := viewerOf(ctx)
	j, err := look(ctx, id)
	gone := (*job.PrivateGoneError)(nil)
	switch {
	case errors.As(err, &gone) && !viewer.Owns(gone.Owner), err == nil && !viewer.Sees(j):
		return job.Job{}, fmt.Errorf("look for job: %w", job.ErrNotFound)
	}
	return j, err
}
