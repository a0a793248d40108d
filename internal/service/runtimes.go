package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// runtimesAge is how old the knowledge may be by which a runtime is accepted.
const runtimesAge = 2 * time.Second

// runtimeNames knows which runtimes the live runners offer. It asks the store only
// for requests that name one.
type runtimeNames struct {
	fleet Fleet
	// turn is a lock that a caller who goes away stops waiting for. It holds the rest.
	turn  chan struct{}
	at    time.Time // when the last look began
	names []string
}

func newRuntimeNames(f Fleet) *runtimeNames {
	return &runtimeNames{fleet: f, turn: make(chan struct{}, 1)}
}

// known returns the names that a request may be refused by, none if no runner
// says what there is. A name is refused only by a look that began after asked,
// when the request came: its runner may have just started. So a batch of unknown
// names costs one look.
func (r *runtimeNames) known(ctx context.Context, name string, asked time.Time) ([]string, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("look for runtimes: %w", ctx.Err())
	}
	if !r.at.Before(asked) || (time.Since(r.at) < runtimesAge && slices.Contains(r.names, name)) {
		return r.names, nil
	}
	at := time.Now()
	runners, err := r.fleet.Runners(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for runtimes: %w", err)
	}
	r.at, r.names = at, nil // not the old array: callers have it
	for _, rt := range job.Runtimes(runners) {
		r.names = append(r.names, rt.Name)
	}
	return r.names, nil
}
