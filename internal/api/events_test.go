package api_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func (f *fakeStore) Follow(ctx context.Context, id string) (job.State, error) {
	j, err := f.Get(ctx, id)
	return j.State, err
}

func (f *fakeStore) LastEvents(context.Context, string, job.EventID, int) ([]job.Event, error) {
	return nil, nil
}

func (f *fakeStore) Events(_ context.Context, _ string, after job.EventID, most int) ([]job.Event, error) {
	if f.events == nil {
		return nil, f.err
	}
	events := f.events(after)
	return events[:min(most, len(events))], f.err
}

func (*fakeStore) Listen(string, func()) (forget func()) { return func() {} }

func (*fakeStore) ListenSession(string, func()) (forget func()) { return func() {} }

func (*fakeStore) ListenBatch(string, func()) (forget func()) { return func() {} }

// output is an event of so many bytes that ends there.
func output(attempt int, seq, size uint64) job.Event {
	return job.Event{
		ID: job.EventID{Attempt: attempt, Seq: seq}, Type: job.EventStream, Size: size,
		Data: fmt.Appendf(nil, `{"type":"stream","stream":"stdout","text":"%d-%d"}`, attempt, seq),
	}
}

// TestGaps: a reader is told what he misses, by the numbers alone.
func TestGaps(t *testing.T) {
	t.Parallel()
	end := job.Event{ID: job.EndID(2), Type: job.EventStatus}
	for name, tt := range map[string]struct {
		after  string
		events []job.Event
		want   string
	}{
		"nothing is missing":        {"", []job.Event{output(1, 10, 10), output(1, 15, 5)}, "1-10 1-15 end"},
		"the beginning":             {"", []job.Event{output(1, 30, 10)}, "gap 20, 1-30 end"},
		"the middle":                {"", []job.Event{output(1, 10, 10), output(1, 30, 5)}, "1-10 gap 15, 1-30 end"},
		"after a known one":         {"1-10", []job.Event{output(1, 30, 5)}, "gap 15, 1-30 end"},
		"nothing after a known one": {"1-10", []job.Event{output(1, 30, 20)}, "1-30 end"},
		"inside of an event":        {"1-15", []job.Event{output(1, 30, 20)}, "1-30 end"},
		"another attempt":           {"1-10", []job.Event{output(2, 30, 30)}, "2-30 end"},
		"the start of another":      {"1-10", []job.Event{output(1, 20, 10), output(2, 30, 20)}, "1-20 gap 10, 2-30 end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &fakeStore{
				get: func() (job.Job, error) { return job.Job{ID: "x", State: job.Completed, Attempt: 2}, nil },
				events: func(after job.EventID) []job.Event {
					var later []job.Event
					for _, e := range append(tt.events, end) {
						if e.ID.Compare(after) > 0 {
							later = append(later, e)
						}
					}
					return later
				},
			}
			res := get(t, config(store), "/v1/jobs/x/events?lastEventId="+tt.after)
			var got strings.Builder
			for line := range strings.Lines(res.Body.String()) {
				_, data, _ := strings.Cut(line, "data: ")
				_, bytes, gap := strings.Cut(data, `"bytes":`)
				_, text, text1 := strings.Cut(data, `"text":"`)
				switch {
				case gap:
					got.WriteString("gap " + strings.TrimRight(bytes, "}\n") + ", ")
				case text1:
					got.WriteString(strings.TrimRight(text, "\"}\n") + " ")
				case strings.Contains(data, `"state":"completed"`):
					got.WriteString("end")
				}
			}
			if got.String() != tt.want {
				t.Errorf("got %q, want %q\n%s", &got, tt.want, res.Body)
			}
		})
	}
}

// TestKeepAlive: something is sent now and then while nothing happens.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		res := serve(ctx, config(&fakeStore{}), http.MethodGet, "/v1/jobs/x/events", "")
		if diff := cmp.Diff(strings.Repeat(":\n\n", 4), res.Body.String()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSlowReader: one who takes nothing any more loses his connection, and holds up nobody.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	seq := uint64(0)
	cfg := config(&fakeStore{events: func(job.EventID) []job.Event { // endless
		seq += 1000
		e := output(1, seq, 1000)
		e.Data = fmt.Appendf(nil, `{"type":"stream","text":%q}`, strings.Repeat("x", 1<<20))
		return []job.Event{e}
	}})
	cfg.dialect.SlowestWrite = 200 * time.Millisecond
	server := httptest.NewServer(newAPI(cfg))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/jobs/x/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != ":\n" {
		t.Errorf("the stream begins with %q, %v", line, err)
	}
	cfg.core.Background.Wait() // and reads no more
}

// stuckWriter takes no event until it is let go.
type stuckWriter struct {
	*httptest.ResponseRecorder
	stuck chan struct{}
}

func (w stuckWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "data: ") {
		<-w.stuck
	}
	return w.ResponseRecorder.Write(p)
}

// TestFollowersThatReadNothing: what they hold is bounded, all of them together, and whoever finds
// no room is told the same later.
func TestFollowersThatReadNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const followers, most = 20, 10_000
		end := job.Event{ID: job.EndID(1), Type: job.EventStatus}
		store := &fakeStore{
			get: func() (job.Job, error) { return job.Job{ID: "x", State: job.Completed, Attempt: 1}, nil },
			events: func(after job.EventID) []job.Event {
				var later []job.Event
				for seq := after.Seq + 1; after.Attempt < 2 && seq < 20; seq++ {
					e := output(1, seq, 1)
					e.Data = fmt.Appendf(nil, `{"text":"%01000d"}`, seq)
					later = append(later, e)
				}
				return append(later, end)
			},
		}
		cfg := config(store)
		cfg.core.Answers = job.NewMemory(most)
		handler := newAPI(cfg)
		stuck := make(chan struct{})
		got := make(chan string, followers)
		for range followers {
			w := stuckWriter{httptest.NewRecorder(), stuck}
			go func() {
				handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/jobs/x/events", nil))
				got <- w.Body.String()
			}()
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := cfg.core.Answers.Held(); n == 0 || n > most/2 {
			t.Errorf("%d bytes are held", n)
		}
		close(stuck)
		for range followers {
			if text := <-got; strings.Count(text, "data: ") != 20 || !strings.Contains(text, `"completed"`) {
				t.Errorf("a follower was told %d events:\n%.300s", strings.Count(text, "data: "), text)
			}
		}
		if n := cfg.core.Answers.Held(); n != 0 {
			t.Errorf("%d bytes are held in the end", n)
		}
	})
}
