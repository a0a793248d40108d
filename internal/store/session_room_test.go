package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestSessionRoom: the live sessions of a caller count as much memory and disk as they may take, and forks share the memory of their sandbox.
func TestSessionRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerSessionMemory: 100, MaxCallerSessionDisk: 50, TombstoneTTL: time.Minute})
	b.beat(t, job.Runner{ID: "r"})
	owner := job.Viewer{Caller: "@a"}
	open := func(caller string, memory, disk int64) (string, *job.SessionRoomError) {
		t.Helper()
		n := job.NewSession{
			Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour}, Caller: caller,
			Spec:       job.SessionSpec{Quota: job.Quota{MemoryBytes: memory, DiskBytes: disk}},
			Candidates: []job.Candidate{{Runner: "r", Most: 20, Runtime: "python"}},
		}
		_, err := b.OpenSession(t.Context(), n)
		full, _ := errors.AsType[*job.SessionRoomError](err)
		if err != nil && full == nil {
			t.Fatal(err)
		}
		return n.Session.ID, full
	}
	fork := func(id string, copies ...string) *job.SessionRoomError {
		t.Helper()
		err := b.ForkSession(t.Context(), id, "r", 20, job.SessionBounds{}, copies)
		full, _ := errors.AsType[*job.SessionRoomError](err)
		if err != nil && full == nil {
			t.Fatal(err)
		}
		return full
	}
	takes := func(memory, disk int64) {
		t.Helper()
		p, err := b.PresentUse(t.Context(), "@a")
		want := [2]job.InUse{{Used: memory, Allowed: 100}, {Used: disk, Allowed: 50}}
		if got := [2]job.InUse{p.Memory, p.Disk}; err != nil || got != want {
			t.Errorf("present use %+v, want %+v: %v", got, want, err)
		}
	}
	refused := func(what string, got *job.SessionRoomError, want job.SessionRoomError) {
		t.Helper()
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	first, _ := open("@a", 40, 20)
	second, _ := open("@a", 60, 10)
	takes(100, 30)
	_, full := open("@a", 1, 1)
	refused("more memory", full, job.SessionRoomError{Used: 100, Allowed: 100, More: 1})
	if _, full := open("@b", 100, 50); full != nil {
		t.Errorf("another caller: %v", full)
	}
	refused("two forks", fork(first, newID(), newID()), job.SessionRoomError{Disk: true, Used: 30, Allowed: 50, More: 40})
	copied := newID()
	if full := fork(first, copied); full != nil {
		t.Errorf("a fork: %v", full)
	}
	takes(100, 50)
	if err := b.CloseSession(t.Context(), first, owner, job.SessionEnd{Reason: job.EndDeleted}); err != nil {
		t.Fatal(err)
	}
	takes(100, 30) // the sandbox lives
	refused("a fork of a fork and more", fork(copied, newID(), newID()), job.SessionRoomError{Disk: true, Used: 30, Allowed: 50, More: 40})
	again := newID()
	if full := fork(copied, again); full != nil {
		t.Errorf("a fork of a fork: %v", full)
	}
	takes(100, 50)
	for _, id := range []string{copied, again, second} {
		if err := b.CloseSession(t.Context(), id, owner, job.SessionEnd{Reason: job.EndDeleted}); err != nil {
			t.Fatal(err)
		}
	}
	takes(0, 0)
	// The key of a session may have a lower limit, or one where there is none for every key.
	ofKey := func(b *bundle, own job.SessionBounds) *job.SessionRoomError {
		t.Helper()
		n := job.NewSession{
			Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour}, Caller: "@c", SessionBounds: own,
			Spec:       job.SessionSpec{Quota: job.Quota{MemoryBytes: 40, DiskBytes: 20}},
			Candidates: []job.Candidate{{Runner: "r", Most: 20, Runtime: "python"}},
		}
		_, err := b.OpenSession(t.Context(), n)
		full, _ := errors.AsType[*job.SessionRoomError](err)
		if err != nil && full == nil {
			t.Fatal(err)
		}
		return full
	}
	free := setup(t, store.Config{TombstoneTTL: time.Minute})
	free.beat(t, job.Runner{ID: "r"})
	for name, b := range map[string]*bundle{"with a limit of every key": b, "without": free} {
		if full := ofKey(b, job.SessionBounds{OwnMemory: 79, OwnDisk: 1000}); full != nil {
			t.Errorf("%s: %v", name, full)
		}
		refused(name, ofKey(b, job.SessionBounds{OwnMemory: 79}), job.SessionRoomError{Used: 40, Allowed: 79, More: 40, OfKey: true})
		refused(name, ofKey(b, job.SessionBounds{OwnDisk: 39}), job.SessionRoomError{Disk: true, Used: 20, Allowed: 39, More: 20, OfKey: true})
		if full := ofKey(b, job.SessionBounds{OwnMemory: 80, OwnDisk: 40}); full != nil {
			t.Errorf("%s, as much as is left: %v", name, full)
		}
	}
	refused("above the limit of every key", ofKey(b, job.SessionBounds{OwnMemory: 1000}), job.SessionRoomError{Used: 80, Allowed: 100, More: 40})
	// A session of an older Kaa counts nothing.
	old, _ := open("@a", 100, 50)
	b.rdb.HDel(t.Context(), "{kaa}:session:"+old, "memory", "disk")
	if full := fork(old, newID()); full != nil {
		t.Errorf("a fork of a session of an older Kaa: %v", full)
	}
	takes(0, 0)
}
