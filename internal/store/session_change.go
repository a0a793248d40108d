package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// ChangeSession changes the settings of a live session that the viewer may see. job.ErrNoSession,
// job.ErrSessionEnded: there is none. A job.TooLateError says that its maximum age forbids the end that is asked for.
func (s *Store) ChangeSession(ctx context.Context, id string, v job.Viewer, c job.SessionChange) error {
	const op = "change session"
	caller, endsAt := "", ""
	atEnd, err := encodedPause(c.AtEnd)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if c.NoPause {
		atEnd = "none"
	}
	if !v.All {
		caller = cmp.Or(v.Caller, anonymous)
	}
	switch {
	case c.NoEnd:
		endsAt = "none"
	default:
		endsAt = setTime(c.EndsAt)
	}
	r, err := s.run(ctx, op, s.scripts.change, keys{{"session", sessionKey(id)}}, args{
		{"id", id},
		{"caller", caller},
		{"idle_timeout", millisOr(c.IdleTimeout)},
		{"max_age", millisOr(c.MaxAge)},
		{"ends_at", endsAt},
		{"ends_in", millisOr(c.EndsIn)},
		{"later", mark(c.OnlyLater)},
		{"metadata", []byte(c.Metadata)},
		{"at_end", atEnd},
	})
	if err != nil {
		return aboutSession(id, err)
	}
	switch r.word() {
	case "too_late":
		return fmt.Errorf("%s: %w", op, &job.TooLateError{Latest: parseMillis(r.text(1))})
	case "bytes":
		return fmt.Errorf("%s: %w", op, bytesFull(r))
	}
	return nil
}

// setTime is the form of a time in scripts; empty if it is not set.
func setTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprint(t.UnixMilli())
}

// millisOr is the form of a duration in scripts; empty if it is not given.
func millisOr(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprint(d.Milliseconds())
}
