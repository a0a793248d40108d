package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// reply is the answer of the state scripts: a word, and its values.
type reply []any

func (r reply) word() string { return r.text(0) }

func (r reply) text(i int) string {
	if i >= len(r) {
		return ""
	}
	switch v := r[i].(type) {
	case string:
		return v
	case int64:
		return fmt.Sprint(v)
	}
	return ""
}

// bytesFull reads the scripts' answer that a caller's records take as many bytes as they may.
func bytesFull(r reply) *job.FullError {
	return &job.FullError{Bytes: true, Depth: atoi(r.text(1)), Limit: atoi(r.text(2))}
}

func wordError(op string, r reply) error {
	switch r.word() {
	case "missing":
		return fmt.Errorf("%s: %w", op, job.ErrNotFound)
	case "gone":
		return fmt.Errorf("%s: %w", op, job.ErrGone)
	case "stale":
		return fmt.Errorf("%s: %w", op, job.ErrStale)
	case "finished":
		return fmt.Errorf("%s: %w", op, job.ErrFinished)
	case "unfinished":
		return fmt.Errorf("%s: %w", op, job.ErrUnfinished)
	case "no_session":
		return fmt.Errorf("%s: %w", op, job.ErrNoSession)
	case "session_paused":
		return fmt.Errorf("%s: %w", op, job.ErrSessionPaused)
	case "session_ended":
		return fmt.Errorf("%s: %w", op, &job.SessionEndedError{Volume: r.text(3), SessionEnd: job.SessionEnd{Reason: job.EndReason(r.text(1)), Message: r.text(2)}})
	case "no_room":
		return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, job.ErrStoreFull)
	case "mismatch":
		return fmt.Errorf("%s: %w", op, job.ErrIdempotencyMismatch)
	}
	return nil
}

// wrap adds the operation. It marks errors that are worth a retry as job.ErrUnavailable: every
// network error, and the replies of a Redis that is starting, failing over or full. Other
// replies are errors in Kaa.
func wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	}
	// This comes before the check of the deadline, because a dial that timed out is one, too.
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, hideDeadline{err})
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		switch text := reply.Error(); {
		case !transient(text):
			return fmt.Errorf("%s: %w", op, err)
		case strings.HasPrefix(text, "OOM") || strings.Contains(text, "-OOM"):
			return fmt.Errorf("%s: %w: %w: %w", op, job.ErrUnavailable, job.ErrStoreFull, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, err)
}

// hideDeadline keeps the text of a network error but not its kind: for callers,
// context.DeadlineExceeded means the end of their own context.
type hideDeadline struct{ err error }

func (e hideDeadline) Error() string { return e.err.Error() }

func transient(reply string) bool {
	for _, p := range []string{"LOADING", "READONLY", "OOM", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED"} {
		if strings.HasPrefix(reply, p) {
			return true
		}
	}
	return false
}

// aboutSession adds the session's id to an error.
func aboutSession(id string, err error) error {
	if ended, ok := errors.AsType[*job.SessionEndedError](err); ok {
		ended.ID = id
	}
	return err
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func parseMillis(s string) time.Time {
	if n := atoi(s); n > 0 {
		return time.UnixMilli(n).UTC()
	}
	return time.Time{}
}

// atoi reads a number that a script wrote; these are always well-formed.
func atoi(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// mark is the form of a yes in scripts.
func mark(yes bool) string {
	if yes {
		return "1"
	}
	return ""
}
