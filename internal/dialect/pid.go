package dialect

import (
	"context"
	"errors"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// pidWait is how long a command's runner has to say what its process id is.
const pidWait = 10 * time.Second

// PIDOf returns the process id of a command that its record does not have yet: what the runner says to one that attaches. It is 0 if
// the command has ended, or its runner does not answer.
func PIDOf(ctx context.Context, s *service.Service, caller service.Caller, session, command string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, pidWait)
	defer cancel()
	of, err := s.AttachCommand(ctx, caller, session, command)
	switch {
	case errors.Is(err, job.ErrCommandEnded), errors.Is(err, job.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	defer of.Close()
	if _, err = of.Next(ctx); err != nil { // the first is the mark
		return 0, nil //nolint:nilerr // it has ended, or does not answer
	}
	return of.PID(), nil
}
