package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// oneSession is a Sessions with one session.
type oneSession struct {
	Sessions
	s   job.Session
	err error
}

func (o oneSession) Session(context.Context, string, job.Viewer) (job.Session, error) {
	return o.s, o.err
}

// TestPausedFor: a caller waits as long as before from the end of a pause on, and for as long as the pause takes.
func TestPausedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = time.Minute
		now := time.Now()
		for _, tt := range []struct {
			name    string
			session job.Session
			err     error
			alone   bool // it is no job of a session
			want    time.Duration
		}{
			{name: "never paused"},
			{name: "paused", session: job.Session{PausedAt: now.Add(-time.Hour)}, want: most},
			{name: "paused again", session: job.Session{PausedAt: now, ResumedAt: now.Add(-time.Hour)}, want: most},
			{name: "resumed", session: job.Session{ResumedAt: now.Add(-time.Second)}, want: most - time.Second},
			{name: "resumed long ago", session: job.Session{ResumedAt: now.Add(-2 * most)}, want: -most},
			{name: "no session", session: job.Session{PausedAt: now}, err: errors.New("none")},
			{name: "alone", session: job.Session{PausedAt: now}, alone: true},
		} {
			s := New(Config{Sessions: oneSession{s: tt.session, err: tt.err}, Hub: NewHub("h")})
			if got := s.pausedFor(t.Context(), job.Job{InSession: !tt.alone, SessionID: "s"}, most); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	})
}
