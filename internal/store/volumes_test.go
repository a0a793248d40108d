package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// volumeOf opens a session with a volume, or says why not.
func (b *bundle) volumeOf(t *testing.T, caller, name, runner string) (job.Session, error) {
	t.Helper()
	if err := b.Beat(t.Context(), job.Runner{ID: runner}); err != nil {
		t.Fatal(err)
	}
	return b.OpenSession(t.Context(), job.NewSession{
		Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour}, Spec: job.SessionSpec{Volume: name},
		Caller: caller, Candidates: []job.Candidate{{Runner: runner, Most: 100, Runtime: "python"}},
	})
}

func (b *bundle) saved(t *testing.T, v *job.HeldVolume) (string, error) {
	t.Helper()
	n := job.Snapshot{ID: newID(), Bytes: 5000, Entries: 3, Skipped: 1}
	if err := b.RoomForSnapshot(t.Context(), *v, n.ID, 1<<20); err != nil {
		return n.ID, err
	}
	return n.ID, b.SaveVolume(t.Context(), *v, n)
}

func (b *bundle) files(t *testing.T) int64 {
	t.Helper()
	use, err := b.PresentUse(t.Context(), "me")
	if err != nil {
		t.Fatal(err)
	}
	return use.Files.Used
}

// clean does what the cleaner does with the blobs that are to be deleted, and returns their owners.
func (b *bundle) clean(t *testing.T) []string {
	t.Helper()
	ids, err := b.Expired(t.Context(), 100)
	if err == nil {
		err = b.ForgetBlobs(t.Context(), ids...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestVolumeFence: one session at a time has a volume; the one before saves nothing any more, and snapshots that are replaced
// are the cleaner's.
func TestVolumeFence(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	b.rdb.AddHook(twice{})
	ctx := t.Context()
	one, err := b.volumeOf(t, "me", "v", "r1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.volumeOf(t, "you", "v", "r1"); err != nil {
		t.Errorf("another caller: %v", err)
	}
	inUse := func(saving bool) {
		t.Helper()
		_, err := b.volumeOf(t, "me", "v", "r2")
		if used, ok := errors.AsType[*job.VolumeInUseError](err); !ok || used.Session != one.ID || used.Saving != saving {
			t.Errorf("another session: %v", err)
		}
	}
	inUse(false)
	if _, err := b.TakeVolume(ctx, one.ID, "r2"); !errors.Is(err, job.ErrStale) {
		t.Errorf("another runner takes it: %v", err)
	}
	held, err := b.TakeVolume(ctx, one.ID, "r1")
	if err != nil || held.Snapshot != "" || held.Name != "v" || held.Caller != "me" {
		t.Fatalf("%+v: %v", held, err)
	}
	first, err := b.saved(t, held)
	if err != nil || b.files(t) != job.Footprint(5000) {
		t.Errorf("save: %v, %d bytes", err, b.files(t))
	}
	second, err := b.saved(t, held)
	if gone := b.clean(t); len(gone) > 0 {
		t.Errorf("deleted at once are %v", gone)
	}
	b.rdb.ZAdd(ctx, "{kaa}:blobs", redis.Z{Member: job.SnapshotOwner(first)}) // some seconds later
	if gone := b.clean(t); err != nil || !slices.Equal(gone, []string{job.SnapshotOwner(first)}) || b.files(t) != job.Footprint(5000) {
		t.Errorf("a newer one: %v, deleted are %v, %d bytes", err, gone, b.files(t))
	}
	if unknown, err := b.UnknownSnapshots(ctx, []string{first, second}); err != nil || !slices.Equal(unknown, []string{first}) {
		t.Errorf("unknown are %v: %v", unknown, err)
	}
	if err := b.EndSession(ctx, one.ID, job.SessionEnd{Reason: job.EndDeleted, Message: "why"}); err != nil {
		t.Fatal(err)
	}
	inUse(true)
	if err := b.DropVolume(ctx, "me", "v"); err == nil {
		t.Error("a volume was deleted whose files are being saved")
	}
	if err := b.LeaveVolume(ctx, *held, "it broke", true); err != nil && !errors.Is(err, job.ErrStale) {
		t.Fatal(err)
	}
	ended, err := b.Session(ctx, one.ID, job.Viewer{Caller: "me"})
	if err != nil || ended.Persist.Error != "it broke" || ended.Persist.Skipped != 1 || ended.Message != `why; its files are kept (persist: "v"), but without the last changes: it broke` {
		t.Errorf("%+v: %v", ended, err)
	}
	two, err := b.volumeOf(t, "me", "v", "r2")
	if err != nil {
		t.Fatal(err)
	}
	now, err := b.TakeVolume(ctx, two.ID, "r2")
	if err != nil || now.Snapshot != second {
		t.Fatalf("%+v: %v", now, err)
	}
	if _, err := b.saved(t, held); !errors.Is(err, job.ErrStale) {
		t.Errorf("the one before saves: %v", err)
	}
	if err := b.SaveVolume(ctx, *held, job.Snapshot{ID: newID()}); !errors.Is(err, job.ErrStale) {
		t.Errorf("the one before saves: %v", err)
	}
	// A runner that is lost leaves the volume at once, and the snapshot of its last save.
	if err := b.rdb.Del(ctx, "{kaa}:runner:r2").Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Rescue(ctx, "r2"); err != nil {
		t.Fatal(err)
	}
	three, err := b.volumeOf(t, "me", "v", "r1")
	if err != nil {
		t.Fatal(err)
	}
	if last, err := b.TakeVolume(ctx, three.ID, "r1"); err != nil || last.Snapshot != second {
		t.Errorf("%+v: %v", last, err)
	}
}

// TestVolumesUnused: a volume that is not used for long is deleted with its snapshot, and its bytes count no more.
func TestVolumesUnused(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{VolumeTTL: time.Millisecond, MaxCallerVolumes: 1})
	ctx := t.Context()
	se, err := b.volumeOf(t, "me", "v", "r")
	if err != nil {
		t.Fatal(err)
	}
	var full *job.VolumesFullError
	if _, err := b.volumeOf(t, "me", "w", "r"); !errors.As(err, &full) || full.Limit != 1 {
		t.Errorf("a second volume: %v", err)
	}
	held, err := b.TakeVolume(ctx, se.ID, "r")
	if err != nil {
		t.Fatal(err)
	}
	id, err := b.saved(t, held)
	if err != nil {
		t.Fatal(err)
	}
	sweep := func() {
		t.Helper()
		<-time.After(5 * time.Millisecond) // by Redis's clock
		if _, err := b.Sweep(ctx, 10); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if v, err := b.Volume(ctx, "me", "v"); err != nil || v.Session != se.ID {
		t.Fatalf("one in use: %+v: %v", v, err)
	}
	if err := b.EndSession(ctx, se.ID, job.SessionEnd{Reason: job.EndDeleted}); err != nil {
		t.Fatal(err)
	}
	if err := b.LeaveVolume(ctx, *held, "", true); err != nil {
		t.Fatal(err)
	}
	sweep()
	if _, err := b.Volume(ctx, "me", "v"); !errors.Is(err, job.ErrNoVolume) {
		t.Errorf("after its time: %v", err)
	}
	if gone := b.clean(t); !slices.Equal(gone, []string{job.SnapshotOwner(id)}) || b.files(t) != 0 {
		t.Errorf("deleted are %v, %d bytes are left", gone, b.files(t))
	}
}

// TestVolumeBudget: snapshots count as files of the caller, and one that was not saved counts no more once the cleaner has deleted it.
func TestVolumeBudget(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerFiles: 100_000})
	se, err := b.volumeOf(t, "me", "v", "r")
	if err != nil {
		t.Fatal(err)
	}
	held, err := b.TakeVolume(t.Context(), se.ID, "r")
	if err != nil {
		t.Fatal(err)
	}
	var full *job.FilesFullError
	if err := b.RoomForSnapshot(t.Context(), *held, newID(), 100_001); !errors.As(err, &full) || full.Limit != 100_000 {
		t.Errorf("too much: %v", err)
	}
	if err := b.RoomForSnapshot(t.Context(), *held, newID(), 60_000); err != nil {
		t.Fatal(err)
	}
	if err := b.RoomForSnapshot(t.Context(), *held, newID(), 60_000); !errors.As(err, &full) || full.Held != 60_000 {
		t.Errorf("a second one: %v", err)
	}
}

// TestVolumesInOrder: pages have all volumes of the caller, and no others.
func TestVolumesInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	for _, name := range []string{"b", "a", "c:d", "B"} {
		for _, caller := range []string{"me", "you"} {
			if _, err := b.volumeOf(t, caller, name, "r"); err != nil {
				t.Fatal(err)
			}
		}
	}
	var names []string
	for cursor := ""; ; {
		page, next, err := b.Volumes(t.Context(), "me", cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page {
			names = append(names, v.Name)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if want := []string{"B", "a", "b", "c:d"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
