package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
	"github.com/kaa-run/kaa/internal/webhook"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// fakeRecords hands out what is due and keeps what was reported.
type fakeRecords struct {
	url string

	mu      sync.Mutex
	due     []job.Delivery
	err     error // of the next take
	most    int   // asked for at once
	reports chan job.Report
}

func (f *fakeRecords) TakeHooks(_ context.Context, most int, lease time.Duration) ([]job.Delivery, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.err; err != nil {
		f.err = nil
		return nil, 0, err
	}
	if lease < 20*time.Second {
		return nil, 0, errors.New("a lease that is too short")
	}
	f.most = max(f.most, most)
	n := min(most, len(f.due))
	taken := f.due[:n]
	f.due = f.due[n:]
	if len(f.due) > 0 {
		return taken, 0, nil
	}
	return taken, -1, nil
}

func (f *fakeRecords) SettleHook(_ context.Context, d job.Delivery, r job.Report) error {
	if d.JobID == "" && d.BatchID == "" {
		return errors.New("no id")
	}
	if d.Owner != "" {
		r.Error = d.Owner + ": " + r.Error
	}
	f.reports <- r
	return nil
}

func (f *fakeRecords) Get(_ context.Context, id string) (job.Job, error) {
	return job.Job{ID: id, State: job.Completed, Webhook: &job.Webhook{URL: f.url}}, nil
}

func (f *fakeRecords) Batch(_ context.Context, id string) (job.Batch, error) {
	if id == "gone" {
		return job.Batch{}, job.ErrNoBatch
	}
	return job.Batch{ID: id, Hook: &job.BatchHook{URL: f.url}}, nil
}

type outcomes struct {
	mu   sync.Mutex
	seen []string
}

func (o *outcomes) Webhook(outcome string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, outcome)
}

type bundle struct {
	*webhook.Deliverer
	records  *fakeRecords
	outcomes *outcomes
	log      *bytes.Buffer
}

// start delivers to url until the test ends.
func start(t *testing.T, url string, due []job.Delivery, change ...func(*webhook.Config)) *bundle {
	t.Helper()
	b := &bundle{records: &fakeRecords{url: url, due: due, reports: make(chan job.Report, 10000)}, outcomes: new(outcomes), log: new(bytes.Buffer)}
	cfg := webhook.Config{
		Records: b.records, Body: func(j job.Job) ([]byte, error) { return []byte(`{"id":"` + j.ID + `"}`), nil },
		BatchBody: func(b job.Batch, percent int) ([]byte, error) {
			return fmt.Appendf(nil, `{"batch":%q,"percent":%d}`, b.ID, percent), nil
		},
		Observer: b.outcomes, Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		UserAgent: "Kaa/test", AllowPrivate: true, RetryFor: 24 * time.Hour,
	}
	for _, c := range change {
		c(&cfg)
	}
	b.Deliverer = webhook.New(cfg)
	b.Start(t.Context())
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

func (b *bundle) report(t *testing.T) job.Report {
	t.Helper()
	select {
	case r := <-b.records.reports:
		return r
	case <-time.After(testenv.Timeout):
		t.Fatal("no report")
		panic("unreachable")
	}
}

func answer(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
	}
}

// TestAnswers: what becomes of a webhook by what its receiver answers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var strayed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		attempt int
		age     time.Duration
		want    job.Report // with the least Next
		most    time.Duration
	}{
		{"200", answer(200), 1, 0, job.Report{State: job.WebhookDelivered, Status: 200}, 0},
		{"204", answer(204), 1, 0, job.Report{State: job.WebhookDelivered, Status: 204}, 0},
		{"redirect", answer(307, "Location: "+elsewhere.URL), 1, 0, job.Report{State: job.WebhookFailed, Status: 307, Error: "redirects are not followed"}, 0},
		{"400", answer(400), 1, 0, job.Report{State: job.WebhookFailed, Status: 400, Error: "the receiver answered 400"}, 0},
		{"410", answer(410), 1, 0, job.Report{State: job.WebhookFailed, Status: 410, Error: "the receiver answered 410"}, 0},
		{"408", answer(408), 1, 0, job.Report{State: job.WebhookPending, Status: 408, Error: "the receiver answered 408", Next: 4 * time.Second}, 6 * time.Second},
		{"429", answer(429, "Retry-After: 120"), 1, 0, job.Report{State: job.WebhookPending, Status: 429, Error: "the receiver answered 429", Next: 2 * time.Minute}, 2 * time.Minute},
		{"429 for ever", answer(429, "Retry-After: 999999999999"), 1, 0, job.Report{State: job.WebhookPending, Status: 429, Error: "the receiver answered 429", Next: time.Hour}, time.Hour},
		{"500", answer(500), 3, 0, job.Report{State: job.WebhookPending, Status: 500, Error: "the receiver answered 500", Next: 16 * time.Second}, 24 * time.Second},
		{"503 many times", answer(503), 40, time.Hour, job.Report{State: job.WebhookPending, Status: 503, Error: "the receiver answered 503", Next: 48 * time.Minute}, 72 * time.Minute},
		{"503 for a day", answer(503), 40, 24 * time.Hour, job.Report{State: job.WebhookFailed, Status: 503, Error: "the receiver answered 503; given up"}, 0},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) {
			for range 10_000 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, 1, 0, job.Report{State: job.WebhookDelivered, Status: 200}, 0},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices the end
			<-r.Context().Done()
		}, 1, 0, job.Report{State: job.WebhookPending, Error: "no answer within 500ms", Next: 4 * time.Second}, 6 * time.Second},
		{"a cut connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 1, 0, job.Report{State: job.WebhookPending, Error: "the connection failed", Next: 4 * time.Second}, 6 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			b := start(t, server.URL, []job.Delivery{{JobID: "j", Attempt: tt.attempt, Age: tt.age}}, func(c *webhook.Config) {
				// A busy machine is slow to answer, too.
				if c.Timeout = testenv.Timeout; tt.name == "no answer" {
					c.Timeout = 500 * time.Millisecond
				}
			})
			got := b.report(t)
			if got.Next < tt.want.Next || got.Next > tt.most {
				t.Errorf("next after %s, want %s to %s", got.Next, tt.want.Next, tt.most)
			}
			got.Next = tt.want.Next
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if n := strayed.Load(); n != 0 {
				t.Errorf("a redirect was followed %d times", n)
			}
		})
	}
}

// TestUnreachable: what is said when there is no answer, and that it names no address.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	var hit atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit.Add(1) }))
	t.Cleanup(server.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit.Add(1) }))
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := lis.Addr().String()
	_ = lis.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	private := "its address is not public, which is not allowed"
	tests := []struct {
		name, url    string
		allowPrivate bool
		state        job.WebhookState
		problem      string
	}{
		{"refused", "http://" + closed, true, job.WebhookPending, "the connection was refused"},
		{"not TLS", "https://" + server.Listener.Addr().String(), true, job.WebhookPending, "it does not speak TLS"},
		{"a certificate of nobody", secure.URL, true, job.WebhookPending, "its TLS certificate is not valid"},
		{"a private address", server.URL, false, job.WebhookFailed, private},
		{"a name of a private address", "http://localhost:" + port, false, job.WebhookFailed, private},
		{"written as a number", "http://2130706433:" + port, false, job.WebhookPending, ""},
		{"mapped", "http://[::ffff:127.0.0.1]:" + port, false, job.WebhookFailed, private},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, tt.url, []job.Delivery{{JobID: "j", Attempt: 1}}, func(c *webhook.Config) { c.AllowPrivate = tt.allowPrivate })
			got := b.report(t)
			if got.State != tt.state || got.Status != 0 || tt.problem != "" && got.Error != tt.problem {
				t.Errorf("got %+v", got)
			}
			if strings.Contains(got.Error, "127.0.0.1") {
				t.Errorf("the error names an address: %s", got.Error)
			}
			if n := hit.Load(); n != 0 {
				t.Errorf("a receiver was reached %d times", n)
			}
		})
	}
}

// TestSignature: what is sent, and that who knows the secret can check it.
func TestSignature(t *testing.T) {
	t.Parallel()
	type received struct {
		header http.Header
		body   string
	}
	got := make(chan received, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.Header, string(body)}
	}))
	t.Cleanup(server.Close)
	b := start(t, server.URL, []job.Delivery{{JobID: "j", Attempt: 3, Secret: "hunter2"}})
	b.report(t)
	r := <-got
	if r.body != `{"id":"j"}` {
		t.Errorf("body = %s", r.body)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "User-Agent": "Kaa/test", "Kaa-Job-Id": "j", "Kaa-Attempt": "3"} {
		if r.header.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, r.header.Get(name), want)
		}
	}
	var at int64
	var sum string
	if _, err := fmt.Sscanf(r.header.Get("Kaa-Signature"), "t=%d,v1=%s", &at, &sum); err != nil {
		t.Fatalf("Kaa-Signature = %q: %v", r.header.Get("Kaa-Signature"), err)
	}
	mac := hmac.New(sha256.New, []byte("hunter2"))
	_, _ = fmt.Fprintf(mac, "%d.%s", at, r.body)
	if sum != hex.EncodeToString(mac.Sum(nil)) || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		t.Errorf("Kaa-Signature = %q", r.header.Get("Kaa-Signature"))
	}
	if err := b.Close(t.Context()); err != nil || strings.Contains(b.log.String(), "hunter2") {
		t.Errorf("%v; log: %s", err, b.log)
	}

	unsigned := start(t, server.URL, []job.Delivery{{JobID: "j", Attempt: 1}})
	unsigned.report(t)
	if r := <-got; r.header.Get("Kaa-Signature") != "" {
		t.Errorf("signed without a secret: %v", r.header)
	}
}

// TestManyAtOnce: no more are under way than may be, all are delivered, and an error
// of the store only delays them.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for {
			seen := most.Load()
			if n <= seen || most.CompareAndSwap(seen, n) {
				break
			}
		}
		<-time.After(time.Millisecond)
	}))
	t.Cleanup(server.Close)
	const all = 500
	due := make([]job.Delivery, all)
	for i := range due {
		due[i] = job.Delivery{JobID: fmt.Sprint(i), Attempt: 1}
	}
	b := start(t, server.URL, nil, func(c *webhook.Config) { c.Patience = time.Hour })
	b.records.mu.Lock()
	b.records.due, b.records.err = due, errors.New("Redis is away")
	b.records.mu.Unlock()
	b.Due()
	for range all {
		if r := b.report(t); r.State != job.WebhookDelivered {
			t.Errorf("%+v", r)
		}
	}
	if n := most.Load(); n > webhook.Concurrency || n < 2 {
		t.Errorf("%d at once", n)
	}
}

// TestClose: what is under way when the process stops is given back at once, and
// sooner in a hurry.
func TestClose(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"in its time": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		},
		"in a hurry": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			time.AfterFunc(100*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testClose(t, stop)
		})
	}
}

func testClose(t *testing.T, stop func(context.Context) (context.Context, context.CancelFunc)) {
	t.Helper()
	entered := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(entered)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	b := start(t, server.URL, []job.Delivery{{JobID: "j", Attempt: 1}})
	<-entered
	ctx, cancel := stop(t.Context())
	defer cancel()
	at := time.Now()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	testenv.Within(t, 2*time.Second, at)
	if r := b.report(t); r.State != job.WebhookPending || r.Next != 0 {
		t.Errorf("%+v", r)
	}
}

// TestBadHosts: one that fails again and again is left alone, and then tried once.
func TestBadHosts(t *testing.T) {
	t.Parallel()
	h, now := webhook.NewHosts(), time.Now()
	for range webhook.BadAfter {
		if !h.MayTry("a", now) {
			t.Error("given up too early")
		}
		h.Failed("a", now)
	}
	if h.MayTry("a", now) || !h.MayTry("b", now) {
		t.Error("a is tried, or b is not")
	}
	now = now.Add(webhook.RestFor)
	if !h.MayTry("a", now) || h.MayTry("a", now) {
		t.Error("after the rest it is to be tried once")
	}
	h.Answered("a")
	for range 2 {
		if !h.MayTry("a", now) {
			t.Error("it answers and is not tried")
		}
	}
	for i := range 10_000 {
		h.Failed(fmt.Sprint(i), now)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	for attempts, want := range map[int]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 5: 80 * time.Second, 11: time.Hour, 1 << 30: time.Hour} {
		for range 100 {
			if got := webhook.PauseAfter(attempts); got < want*4/5 || got > want*6/5 {
				t.Errorf("after %d attempts: %s, want about %s", attempts, got, want)
			}
		}
	}
}
