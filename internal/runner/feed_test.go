package runner

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// fakeEvents keeps what is written, in the way of the store.
type fakeEvents struct {
	mu     sync.Mutex
	err    error
	events []job.Event
	writes []time.Time
}

func (f *fakeEvents) AppendEvents(_ context.Context, _ job.Claim, oldest job.EventID, events []job.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.writes = append(f.writes, time.Now())
	for _, e := range events {
		if n := len(f.events); n == 0 || e.ID.Compare(f.events[n-1].ID) > 0 {
			f.events = append(f.events, e)
		}
	}
	for len(f.events) > 0 && f.events[0].ID.Compare(oldest) < 0 {
		f.events = f.events[1:]
	}
	return nil
}

func (f *fakeEvents) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// read returns the text of a stream, how many bytes the numbering says are missing, and
// what the events take.
func (f *fakeEvents) read(t *testing.T, stream string) (text string, missing uint64, size int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	last := uint64(0)
	for _, e := range f.events {
		begin := e.ID.Seq - e.Size
		if begin < last {
			t.Errorf("event %s begins at %d, before %d", e.ID, begin, last)
		}
		missing += begin - last
		last = e.ID.Seq
		size += len(e.Data)
		var d job.StreamData
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Errorf("event %s: %v", e.ID, err)
		}
		if d.Stream == stream {
			b.WriteString(d.Text)
		}
	}
	return b.String(), missing, size
}

const limit = 1 << 20

func feedOf(f *fakeEvents) *feed {
	return newFeed(f, job.Claim{JobID: "j", Attempt: 1}, limit, slog.New(slog.DiscardHandler))
}

// finish ends a feed and writes what is left.
func finish(t *testing.T, f *feed) {
	t.Helper()
	f.close()
	if err := f.drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFeedCoalesces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store fakeEvents
		f := feedOf(&store)
		began := time.Now()
		for range 1000 {
			f.Stream("stdout", []byte("x\n"))
			time.Sleep(100 * time.Microsecond)
		}
		finish(t, f)
		text, missing, _ := store.read(t, "stdout")
		if text != strings.Repeat("x\n", 1000) || missing != 0 {
			t.Errorf("%d bytes, %d missing", len(text), missing)
		}
		if n := len(store.writes); n < 5 || n > 12 {
			t.Errorf("%d writes in 100 ms", n)
		}
		if first := store.writes[0].Sub(began); first > 2*time.Millisecond {
			t.Errorf("the first was written after %s", first)
		}
	})
}

// TestFeedCharacters: what is a character stays one, wherever it is cut.
func TestFeedCharacters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store fakeEvents
		f := feedOf(&store)
		text := strings.Repeat("aü€😀", 20_000) // no event holds it
		errors := 0
		for i := range len(text) {
			f.Stream("stdout", []byte{text[i]})
			if i%997 == 0 && i < len(text)/2 { // and then as fast as it goes
				f.Stream("stderr", []byte{'\xff'})
				errors++
				time.Sleep(20 * time.Millisecond)
			}
		}
		f.Stream("stdout", []byte{0xc3}) // the rest never comes
		finish(t, f)
		if got, missing, _ := store.read(t, "stdout"); got != text+"\ufffd" || missing != 0 {
			t.Errorf("%d bytes of %d, %d missing", len(got), len(text), missing)
		}
		if got, _, _ := store.read(t, "stderr"); got != strings.Repeat("\ufffd", errors) {
			t.Errorf("stderr %q", got)
		}
	})
}

// TestFeedIsBounded: events that Redis does not take in time are dropped from the middle. The
// numbering shows how much was dropped, and how much Redis need not keep.
func TestFeedIsBounded(t *testing.T) {
	t.Parallel()
	line := []byte(strings.Repeat("0123456789abcdef", 64))
	for name, output := range map[string]func(f *feed) uint64{
		"much": func(f *feed) uint64 {
			for range 8 << 10 {
				f.Stream("stdout", line)
			}
			return 8 << 20
		},
		"much, slowly": func(f *feed) uint64 {
			for i := range 5 << 10 {
				f.Stream("stdout", line)
				if i%64 == 0 {
					time.Sleep(50 * time.Millisecond)
				}
			}
			return 5 << 20
		},
		"many small ones": func(f *feed) uint64 {
			for range 50_000 {
				f.Stream("stdout", line[:1])
				f.Stream("stderr", line[:1])
			}
			return 100_000
		},
		"what was dropped before": func(f *feed) uint64 {
			f.Stream("stdout", line)
			f.Skipped("stdout", 1<<40)
			f.Stream("stdout", line)
			return 1<<40 + 2*uint64(len(line))
		},
		"events": func(f *feed) uint64 {
			n := uint64(0)
			for range 1000 {
				e := job.NewEvent(job.EventDisplay, map[string]string{"type": "display", "data": string(line)})
				f.Event(e.Type, e.Data)
				n += e.Size
			}
			return n
		},
		"one that is too large": func(f *feed) uint64 {
			f.Event(job.EventDisplay, json.RawMessage(`"`+strings.Repeat("x", limit)+`"`))
			return limit + 2
		},
	} {
		for _, away := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var store fakeEvents
					if away {
						store.fail(job.ErrUnavailable)
					}
					f := feedOf(&store)
					time.Sleep(time.Second)
					before := f.seq
					total := output(f)
					synctest.Wait()
					f.mu.Lock()
					held := 0
					for _, c := range f.pending {
						held += c.cost()
					}
					if held > limit+chunkBytes || held != f.held {
						t.Errorf("holds %d bytes, and thinks %d", held, f.held)
					}
					f.mu.Unlock()
					time.Sleep(time.Second)
					store.fail(nil)
					finish(t, f)
					_, missing, size := store.read(t, "")
					got := uint64(0)
					for _, e := range store.events {
						got += e.Size
					}
					if got+missing != total+before {
						t.Errorf("%d bytes and %d missing, of %d", got, missing, total+before)
					}
					if size > limit {
						t.Errorf("%d bytes are kept", size)
					}
					if n := len(store.events); n == 0 || store.events[n-1].ID.Seq != total+before {
						t.Error("the end is missing")
					}
				})
			})
		}
	}
}

// TestFeedNamesWhatIsTooLarge: the gap in the place of one event says what that was, and other gaps name none.
func TestFeedNamesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 1 << 20
		var store fakeEvents
		f := newFeed(&store, job.Claim{JobID: "j", Attempt: 1}, limit, slog.New(slog.DiscardHandler))
		f.Event(job.EventDisplay, json.RawMessage(`"`+strings.Repeat("x", limit/2-2)+`"`)) // just small enough
		f.Event(job.EventDisplay, json.RawMessage(`"`+strings.Repeat("x", limit/2-1)+`"`))
		f.Event(job.EventResult, json.RawMessage(`"`+strings.Repeat("x", limit)+`"`))
		time.Sleep(time.Second)
		finish(t, f)
		var gaps []job.GapData
		for _, e := range store.events {
			if e.Type == job.EventGap {
				var g job.GapData
				if err := json.Unmarshal(e.Data, &g); err != nil {
					t.Fatal(err)
				}
				gaps = append(gaps, g)
			}
		}
		want := []job.GapData{
			{Type: job.EventGap, Bytes: limit/2 + 1, Event: job.EventDisplay}, {Type: job.EventGap, Bytes: limit + 2, Event: job.EventResult},
		}
		if !slices.Equal(gaps, want) {
			t.Errorf("gaps %v, want %v", gaps, want)
		}
	})
}

// endNotes keeps how much had been written when the end of a job was.
type endNotes struct {
	Records
	store *fakeEvents
	seen  int
}

func (n *endNotes) Finish(context.Context, job.Claim, job.Outcome) error {
	n.seen = len(n.store.events)
	return nil
}

// TestFeedBeforeTheEnd: the end of a job is not written before what it has put out,
// even if Redis is away.
func TestFeedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store fakeEvents
		notes := &endNotes{store: &store}
		r := New(Config{Records: notes, Events: &store, Log: slog.New(slog.DiscardHandler)})
		e := r.track(job.Claim{JobID: "j", Attempt: 1, Events: true}, func(error) {})
		w := e.tap.Tee("stdout", io.Discard)
		time.Sleep(time.Second)
		store.fail(job.ErrUnavailable)
		_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
		time.AfterFunc(10*time.Second, func() { store.fail(nil) })
		o := job.Outcome{State: job.Completed, Result: &job.Result{Error: &job.Error{Name: "E"}}}
		r.settle(t.Context(), r.cfg.Log, e.claim, o, r.unwatch(e, o))
		if last := store.events[len(store.events)-1]; last.Type != job.EventError || notes.seen != len(store.events) || notes.seen < 30 {
			t.Errorf("%d events at the end, %d in all; the last is %s", notes.seen, len(store.events), last.Type)
		}
	})
}

// TestWatchedTooLate: an execution gets no feed if its first follower comes after its end.
func TestWatchedTooLate(t *testing.T) {
	t.Parallel()
	r := New(Config{Events: new(fakeEvents), Log: slog.New(slog.DiscardHandler)})
	e := r.track(job.Claim{JobID: "j", Attempt: 1}, func(error) {})
	f := r.unwatch(e, job.Outcome{State: job.Completed})
	r.Watched("j")
	if f != nil || e.feed != nil {
		t.Error("there is a feed")
	}
}

// TestWatchedWhileClaimed: who comes between a claim and its answer is not forgotten.
func TestWatchedWhileClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Events: new(fakeEvents), Log: slog.New(slog.DiscardHandler)})
		r.claiming("j")
		r.Watched("j")
		r.Watched("other")
		e := r.track(job.Claim{JobID: "j", Attempt: 1}, func(error) {})
		if e.feed == nil {
			t.Error("there is no feed")
		}
		r.unwatch(e, job.Outcome{State: job.Completed})
		r.claimed("j")
		if len(r.early) > 0 {
			t.Errorf("remembers %v", r.early)
		}
	})
}

// TestFeedOfALostClaim: nothing is tried again that cannot succeed.
func TestFeedOfALostClaim(t *testing.T) {
	t.Parallel()
	for _, err := range []error{job.ErrStale, job.ErrGone, job.ErrNotFound, context.Canceled} {
		synctest.Test(t, func(t *testing.T) {
			var store fakeEvents
			store.fail(err)
			f := feedOf(&store)
			time.Sleep(time.Second)
			store.fail(nil)
			f.Stream("stdout", []byte("x"))
			time.Sleep(time.Second)
			finish(t, f)
			if len(store.events) > 0 {
				t.Errorf("%v: wrote %v", err, store.events)
			}
		})
	}
}
