package store_test

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// The paused session of the records: a command of it stands still, and the next use resumes it.
const (
	pauseCaller   = "caller-of-pauses"
	pauseRunner   = "runner-of-pauses"
	pausedSession = "paused-with-a-command"
	pausedCommand = "command-that-stands-still"
)

func (w *writer) paused() {
	ctx := w.t.Context()
	w.must(w.Beat(ctx, job.Runner{ID: pauseRunner, StartedAt: time.Unix(1e9, 0).UTC(), Runtimes: []job.Runtime{{Name: "python", Default: true}}, Layers: []job.Layer{}, Lanes: true}))
	_, err := w.OpenSession(ctx, job.NewSession{
		Session: job.Session{ID: pausedSession, IdleTimeout: time.Hour, MaxAge: 2 * time.Hour}, EndsIn: 90 * time.Minute, Caller: pauseCaller,
		Candidates: []job.Candidate{{Runner: pauseRunner, Most: 100, Runtime: "python"}},
	})
	w.must(err)
	command, pause := named(pausedCommand, inSession(pausedSession, "")), named("pause", inSession(pausedSession, job.OpPause))
	command.Caller, pause.Caller, command.Job.Lane = pauseCaller, pauseCaller, job.LaneBeside
	command.Spec = job.Spec{Command: &job.Command{Line: "sleep 1000", Background: true}}
	w.create(w.t, command)
	running, err := w.NextInSession(ctx, pausedSession, job.Beside(pausedCommand), pauseRunner, true)
	w.must(err)
	w.must(w.CommandStarted(ctx, *running, 42))
	w.create(w.t, pause)
	c := w.next(pausedSession, pauseRunner)
	w.must(w.HaltSession(ctx, c, job.PauseArgs{Most: time.Hour, AutoResume: true}, []string{pausedCommand}))
	_, _, err = w.FinishInSession(ctx, c, job.Outcome{State: job.Completed, Data: []byte("{}")})
	w.must(err)
}

func (l *lines) paused(t *testing.T, s *store.Store) {
	t.Helper()
	se, err := s.Session(t.Context(), pausedSession, job.Viewer{Caller: pauseCaller})
	if err != nil {
		return // the records are older
	}
	j, err := s.Get(t.Context(), pausedCommand)
	must(t, err)
	l.add("paused session", "state", se.State, "paused", se.PausedAt, "until", se.PausedUntil, "resumes", se.AutoResume, "ends", se.EndsAt,
		"expires", se.ExpiresAt, "pid-of-its-command", j.PID, "state-of-that", j.State)
}

// pausedOld resumes a session that an older process has paused, by a message to its command.
func pausedOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	if _, err := b.Session(ctx, pausedSession, job.Viewer{Caller: pauseCaller}); err != nil {
		return
	}
	must(t, b.TellCommand(ctx, pausedSession, pauseCaller, pausedCommand, job.CommandMessage{Signal: "TERM"}))
	se, err := b.Session(ctx, pausedSession, job.Viewer{Caller: pauseCaller})
	if err != nil || se.State != job.SessionBusy || !se.PausedAt.IsZero() {
		t.Errorf("resumed: %+v, %v", se, err)
	}
	c, err := b.NextInSession(ctx, pausedSession, job.Beside(pausedCommand), pauseRunner, true)
	must(t, err)
	_, _, err = b.FinishInSession(ctx, *c, completed)
	must(t, err)
	if se, err = b.Session(ctx, pausedSession, job.Viewer{Caller: pauseCaller}); err != nil || se.State != job.SessionIdle {
		t.Errorf("after its command: %+v, %v", se, err)
	}
}
