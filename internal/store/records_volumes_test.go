package store_test

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// The volumes of the records: one that a session uses, and one that none does, with a snapshot and a save that failed.
const (
	volumeCaller = "caller-of-volumes"
	volumeRunner = "runner-of-volumes"
)

func (w *writer) volumes() {
	ctx := w.t.Context()
	w.must(w.Beat(ctx, job.Runner{ID: volumeRunner, StartedAt: time.Unix(1e9, 0).UTC(), Runtimes: []job.Runtime{{Name: "python", Default: true}}, Layers: []job.Layer{}, Volumes: true}))
	hold := func(session, name string) *job.HeldVolume {
		_, err := w.OpenSession(ctx, job.NewSession{
			Session: job.Session{ID: session, IdleTimeout: time.Hour, MaxAge: 2 * time.Hour}, Spec: job.SessionSpec{Volume: name}, Caller: volumeCaller,
			Candidates: []job.Candidate{{Runner: volumeRunner, Most: 100, Runtime: "python"}},
		})
		w.must(err)
		held, err := w.TakeVolume(ctx, session, volumeRunner)
		w.must(err)
		return held
	}
	hold("with-a-volume", "used:1")
	free := hold("with-a-saved-volume", "free")
	w.must(w.RoomForSnapshot(ctx, *free, "snapshot-1", 10_000))
	w.must(w.SaveVolume(ctx, *free, job.Snapshot{ID: "snapshot-1", Bytes: 5000, Entries: 3, Skipped: 1}))
	w.must(w.EndSession(ctx, "with-a-saved-volume", job.SessionEnd{Reason: job.EndDeleted, Message: "why"}))
	w.must(w.LeaveVolume(ctx, *free, "it broke", true))
}

func (l *lines) volumes(t *testing.T, s *store.Store) {
	t.Helper()
	all, _, err := s.Volumes(t.Context(), volumeCaller, "", 100)
	must(t, err)
	for _, v := range all {
		l.add("volume "+v.Name, "created", v.CreatedAt, "saved", v.SavedAt, "bytes", v.Bytes, "entries", v.Entries, "skipped", v.Skipped,
			"session", v.Session, "error", v.Error, "error-at", v.ErrorAt)
	}
	if len(all) == 0 {
		return // the records are older
	}
	for _, id := range []string{"with-a-volume", "with-a-saved-volume"} {
		se, err := s.Session(t.Context(), id, job.Viewer{Caller: volumeCaller})
		must(t, err)
		l.add("  persist of "+id, "volume", se.Persist.Volume, "saved", se.Persist.SavedAt, "bytes", se.Persist.Bytes, "skipped", se.Persist.Skipped,
			"error", se.Persist.Error, "message", se.Message)
	}
}

// volumesOld goes on with volumes of an older process.
func volumesOld(t *testing.T, b *bundle) {
	t.Helper()
	all, _, err := b.Volumes(t.Context(), volumeCaller, "", 100)
	must(t, err)
	if len(all) == 0 {
		return
	}
	used := &job.HeldVolume{Session: "with-a-volume", Runner: volumeRunner, Caller: volumeCaller, Name: "used:1"}
	if _, err := b.saved(t, used); err != nil {
		t.Errorf("save: %v", err)
	}
	se, err := b.volumeOf(t, volumeCaller, "free", "r")
	must(t, err)
	held, err := b.TakeVolume(t.Context(), se.ID, "r")
	if err != nil || held.Snapshot != "snapshot-1" {
		t.Errorf("%+v: %v", held, err)
	}
}
