package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// event is one server-sent event.
type event struct {
	id, name string
	data     map[string]any
	at       time.Time
}

func (e event) str(name string) string {
	if v := e.data[name]; v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// brief is what of an event does not differ from run to run.
func (e event) brief() string {
	switch e.name {
	case "stream":
		return e.str("stream") + " " + strconv.Quote(e.str("text"))
	case "error":
		return "error " + e.str("name") + e.str("code")
	case "status":
		return strings.TrimSpace("status " + e.str("state") + " " + e.str("status"))
	}
	return e.name
}

// stream reads server-sent events.
type stream struct {
	tb   testing.TB
	res  *http.Response
	line *bufio.Scanner
	stop context.CancelFunc
}

// stream asks for a stream of events.
func (k *kaa) stream(method, path string, body any, headers ...string) *stream {
	k.tb.Helper()
	ctx, stop := context.WithCancel(k.tb.Context())
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			k.tb.Fatal(err)
		}
		text = string(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.url+path, strings.NewReader(text))
	if err != nil {
		k.tb.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := k.client.Do(req)
	if err != nil {
		k.tb.Fatal(err)
	}
	s := &stream{tb: k.tb, res: res, line: bufio.NewScanner(res.Body), stop: stop}
	s.line.Buffer(nil, 16<<20)
	k.tb.Cleanup(s.close)
	if ct := res.Header.Get("Content-Type"); res.StatusCode == http.StatusOK && ct != "text/event-stream" {
		k.tb.Fatalf("Content-Type = %q", ct)
	}
	return s
}

// follow opens the events of a job, after an event if that is not empty.
func (k *kaa) follow(id, after string) *stream {
	k.tb.Helper()
	return k.stream(http.MethodGet, "/v1/jobs/"+id+"/events", nil, "Last-Event-ID: "+after)
}

// executeLive executes code and opens its events.
func (k *kaa) executeLive(body fields) *stream {
	k.tb.Helper()
	return k.stream(http.MethodPost, executePath, body)
}

func (s *stream) close() {
	s.stop()
	_ = s.res.Body.Close()
}

// next returns the next event; false at the end of the stream, or if none comes for long.
func (s *stream) next() (event, bool) {
	defer time.AfterFunc(testenv.Timeout, s.stop).Stop()
	var e event
	for s.line.Scan() {
		field, value, _ := strings.Cut(s.line.Text(), ": ")
		switch {
		case field == "id":
			e.id = value
		case field == "event":
			e.name = value
		case field == "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				s.tb.Fatalf("data %q: %v", value, err)
			}
		case s.line.Text() == "" && e.name != "":
			e.at = time.Now()
			if e.str("type") != e.name {
				s.tb.Errorf("type %q in an event %s", e.str("type"), e.name)
			}
			return e, true
		}
	}
	return event{}, false
}

// await reads until an event that f accepts, and returns it.
func (s *stream) await(f func(event) bool) event {
	s.tb.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.tb.Fatal("the stream has ended")
		}
		if f(e) {
			return e
		}
	}
}

// all reads to the end.
func (s *stream) all() []event {
	var all []event
	for e, ok := s.next(); ok; e, ok = s.next() {
		all = append(all, e)
	}
	return all
}

// briefs are those of all events, with the pieces of one stream together.
func briefs(events []event) []string {
	var out []string
	for i, e := range events {
		if i > 0 && e.name == "stream" && events[i-1].name == "stream" && events[i-1].str("stream") == e.str("stream") {
			joined := event{name: "stream", data: map[string]any{"stream": e.str("stream"), "text": events[i-1].str("text") + e.str("text")}}
			events[i] = joined
			out[len(out)-1] = joined.brief()
			continue
		}
		out = append(out, e.brief())
	}
	return out
}

func ofOutput(text string) func(event) bool {
	return func(e event) bool { return strings.Contains(e.str("text"), text) }
}

// TestEvents: the same comes live, to those who come later, and from the record of a job
// that nobody followed.
func TestEvents(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	for _, tt := range []struct {
		name string
		body fields
		want []string
	}{
		{"output", fields{"code": "print('a'); print('ü<\\0\\n')"}, []string{`stdout "a\nü<\x00\n\n"`, "status completed ok"}},
		{"nothing", fields{"code": "pass"}, []string{"status completed ok"}},
		{"error", fields{"code": "print(1)\n1/0"}, []string{`stdout "1\n"`, "error ZeroDivisionError", "status completed error"}},
		{"exit", fields{"code": "import os; os._exit(3)"}, []string{"status completed exit"}},
		{"values", fields{"code": "display(1)\n6 * 7"}, []string{"display", "result", "status completed ok"}},
		{"children", fields{"code": "import os; os.system('echo hi >&2')"}, []string{`stderr "hi\n"`, "result", "status completed ok"}},
		{
			"timeout",
			fields{"code": "print(1)\nwhile True: pass", "timeout": 0.2},
			[]string{`stdout "1\n"`, "error KeyboardInterrupt", "status completed interrupted"},
		},
		{"not UTF-8", fields{"code": `import os; os.write(1, b'\xff\xc3'); os.write(1, b'\xbc\xc3');`}, []string{"stdout \"\ufffdü\ufffd\"", "status completed ok"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			live := k.executeLive(tt.body).all()
			id := live[0].str("jobId")
			if got, want := briefs(live), append([]string{"status queued", "status running"}, tt.want...); !cmp.Equal(got, want) {
				t.Fatalf("live: %s", cmp.Diff(want, got))
			}
			end := live[len(live)-1]
			if end.str("jobId") != id || end.str("durationMs") == "" || end.str("sessionId") == "" || end.data["stdout"] != nil {
				t.Errorf("end = %v", end.data)
			}
			want := append([]string{"status running"}, tt.want...)
			if got := briefs(k.follow(id, "").all()); !cmp.Equal(got, want) {
				t.Errorf("afterwards: %s", cmp.Diff(want, got))
			}
			submitted := k.submit(tt.body)
			k.await(submitted)
			fromRecord := k.follow(submitted, "").all()
			if got := briefs(slices.Clone(fromRecord)); !cmp.Equal(got, want) {
				t.Errorf("from the record: %s", cmp.Diff(want, got))
			}
			for i, e := range fromRecord {
				if i == len(fromRecord)-1 {
					if a := k.call(http.MethodGet, "/v1/jobs/"+submitted+"/events?lastEventId="+e.id, nil); a.status != http.StatusNoContent {
						t.Errorf("after the last event: %d %s", a.status, a.raw)
					}
				} else if rest := k.follow(submitted, e.id).all(); len(rest) != len(fromRecord)-1-i || rest[0].id != fromRecord[i+1].id {
					t.Errorf("after %s: %v", e.id, rest)
				}
			}
		})
	}
}

// TestEventsAreFast: output arrives 50 ms after it was written, whoever follows.
func TestEventsAreFast(t *testing.T) {
	t.Parallel()
	testenv.Long(t)
	k := start(t, 1)
	const code = "import time\nfor i in range(20):\n  print(time.time())\n  time.sleep(.1)"
	check := func(name string, s *stream) {
		t.Helper()
		var took []time.Duration
		for e, ok := s.next(); ok; e, ok = s.next() {
			if e.name != "stream" {
				continue
			}
			lines := strings.Fields(e.str("text"))
			if len(lines) == 0 {
				continue // a line's end, on its own on a busy machine
			}
			written, err := strconv.ParseFloat(lines[len(lines)-1], 64)
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, e.at.Sub(time.UnixMicro(int64(written*1e6))))
		}
		slices.Sort(took)
		if len(took) < 10 {
			t.Fatalf("%s: %d events", name, len(took))
		}
		t.Logf("%s: %s in the middle, %s at most", name, took[len(took)/2], took[len(took)-1])
		if took[len(took)/2] > 50*time.Millisecond {
			t.Errorf("%s: took %s", name, took)
		}
	}
	check("execute", k.executeLive(fields{"code": code}))
	check("job", k.follow(k.submit(fields{"code": code, "events": true}), ""))
	late := k.submit(fields{"code": code})
	testenv.Eventually(t, "it runs", func() bool {
		return k.call(http.MethodGet, "/v1/jobs/"+late, nil).str("state") == "running"
	})
	check("late", k.follow(late, ""))
}

// TestEventsResume: whoever goes on where he was cut off misses nothing and sees
// nothing twice; also on another API process.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	other, _ := k.run(app.RunAPI)
	addresses := []string{k.url, "http://" + other.String()}
	id := k.submit(fields{"code": "import time\nfor i in range(200):\n  print(i, flush=True)\n  time.sleep(.005)", "events": true})
	text, after := "", ""
	for i := 0; ; i++ {
		k.url = addresses[i%2]
		s := k.follow(id, after)
		over := false
		for range 5 {
			e, ok := s.next()
			if !ok {
				over = true
				break
			}
			if e.id != "" {
				after = e.id
			}
			if e.name == "gap" {
				t.Errorf("gap: %v", e.data)
			}
			text += e.str("text")
			if e.str("state") == "completed" {
				over = true
			}
		}
		s.close()
		if over {
			break
		}
	}
	var want strings.Builder
	for i := range 200 {
		fmt.Fprintln(&want, i)
	}
	if text != want.String() {
		t.Errorf("output: %s", cmp.Diff(want.String(), text))
	}
}

// TestEventsOfCaller: a caller who hangs up ends his job, a follower does not.
func TestEventsOfCaller(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const code = "import time\nprint('started\\n', end='')\ntime.sleep(60)"
	call := k.executeLive(fields{"code": code})
	first, _ := call.next()
	id := first.str("jobId")
	call.await(ofOutput("started"))
	follower := k.follow(id, "")
	follower.await(ofOutput("started"))
	leaver := k.follow(id, "")
	leaver.await(ofOutput("started"))
	leaver.close()
	if a := k.call(http.MethodGet, "/v1/jobs/"+id, nil); a.str("state") != "running" || a.str("cancelRequested") != "" {
		t.Errorf("after a follower has gone: %s", a.raw)
	}
	hungUp := time.Now()
	call.close()
	defer testenv.Within(t, 3*time.Second, hungUp)
	if got, want := briefs(follower.all()), []string{"error KeyboardInterrupt", "status cancelled interrupted"}; !cmp.Equal(got, want) {
		t.Errorf("follower: %s", cmp.Diff(want, got))
	}
}

// TestEventsEnd: however a job ends, its stream does, with its end.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_SYNC_QUEUE_WAIT=300ms", "KAA_DRAIN_TIMEOUT=100ms")
	check := func(s *stream, want ...string) {
		t.Helper()
		if got := briefs(s.all()); !cmp.Equal(got, want) {
			t.Errorf("%s", cmp.Diff(want, got))
		}
	}
	check(k.executeLive(fields{"code": "print(1)"}), "status queued", "status cancelled") // no runner
	waiting := k.submit(fields{"code": "print(1)"})
	s := k.follow(waiting, "")
	k.call(http.MethodDelete, "/v1/jobs/"+waiting, nil)
	check(s, "status cancelled")

	_, stop := k.run(app.RunRunner)
	const code = "import time\nprint('started\\n', end='')\ntime.sleep(60)"
	drained := k.submit(fields{"code": code})
	s = k.follow(drained, "")
	s.await(ofOutput("started"))
	again := k.submit(fields{"code": code, "maxAttempts": 2, "events": true})
	retried := k.follow(again, "")
	retried.await(ofOutput("started"))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	check(s, "status failed")
	k.run(app.RunRunner)
	if e := retried.await(func(e event) bool { return e.name == "status" }); e.str("attempt") != "2" {
		t.Errorf("next attempt: %v", e.data)
	}
	retried.await(ofOutput("started"))
	k.call(http.MethodDelete, "/v1/jobs/"+again, nil)
	check(retried, "error KeyboardInterrupt", "status cancelled interrupted")
}

func TestEventsRefused(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_MAX_SYNC_WAITS=1")
	const path = "/v1/jobs/0190a000-0000-7000-8000-000000000000/events"
	if a := k.call(http.MethodGet, path, nil); a.status != http.StatusNotFound {
		t.Errorf("unknown: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, path, nil, "Last-Event-ID: x"); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "Last-Event-ID") {
		t.Errorf("bad id: %d %s", a.status, a.raw)
	}
	id := k.submit(fields{"code": "print(1)"})
	if a := k.call(http.MethodHead, "/v1/jobs/"+id+"/events", nil); a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	if _, err := k.try(t.Context(), http.MethodGet, "/healthz", nil); err != nil {
		t.Error(err)
	}
	k.follow(id, "")
	if a := k.call(http.MethodGet, "/v1/jobs/"+id+"/events", nil); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_waits" {
		t.Errorf("one too many: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, executePath, fields{"code": ""}, "Accept: text/event-stream"); a.status != http.StatusBadRequest {
		t.Errorf("no code: %d %s", a.status, a.raw)
	}
}

// TestEventsWhenTheAPIStops: a follower is sent elsewhere, a caller's stream is served to
// its end.
func TestEventsWhenTheAPIStops(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_DRAIN_TIMEOUT=2m")
	addr, stop := k.run(app.RunAPI)
	first := k.url
	k.url = "http://" + addr.String()
	call := k.executeLive(fields{"code": "import time\nprint('started\\n', end='')\ntime.sleep(5)\nprint('end')"})
	id := call.await(func(e event) bool { return e.name == "status" }).str("jobId")
	last := call.await(ofOutput("started"))
	follower := k.follow(id, last.id)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if got, want := briefs(follower.all()), []string{"error draining"}; !cmp.Equal(got, want) {
		t.Errorf("follower: %s", cmp.Diff(want, got))
	}
	want := []string{`stdout "end\n"`, "status completed ok"}
	if got := briefs(call.all()); !cmp.Equal(got, want) {
		t.Errorf("caller: %s", cmp.Diff(want, got))
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	k.url = first
	if got := briefs(k.follow(id, last.id).all()); !cmp.Equal(got, want) {
		t.Errorf("afterwards: %s", cmp.Diff(want, got))
	}
}

// TestEventsOfMany: jobs that run side by side, each followed by several who come at
// different times, are not mixed up.
func TestEventsOfMany(t *testing.T) {
	t.Parallel()
	k := start(t, 2)
	var wg sync.WaitGroup
	for n := range 12 {
		id := k.submit(fields{"code": fmt.Sprintf("import time\nfor i in range(300):\n  print(%d, i)\n  if i %% 100 == 0: time.sleep(.05)", n), "events": n%2 == 0})
		var want strings.Builder
		for i := range 300 {
			fmt.Fprintln(&want, n, i)
		}
		for range 3 {
			s := k.follow(id, "")
			wg.Go(func() {
				all := briefs(s.all())
				want := []string{"status running", "stdout " + strconv.Quote(want.String()), "status completed ok"}
				if waited := all[0] == "status queued"; waited {
					all = all[1:]
				}
				if diff := cmp.Diff(want, all); diff != "" {
					t.Errorf("job %d: %s", n, diff)
				}
			})
		}
	}
	wg.Wait()
}

// TestEventsInDev: all of it works on the embedded Redis, too.
func TestEventsInDev(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_REDIS_URL=")
	addr, _ := k.run(app.RunDev)
	k.url = "http://" + addr.String()
	const code = "import time\nfor i in range(3):\n  print(i)\n  time.sleep(.1)"
	output := []string{`stdout "0\n1\n2\n"`, "status completed ok"}
	call := k.executeLive(fields{"code": code})
	if got, want := briefs(call.all()), append([]string{"status queued", "status running"}, output...); !cmp.Equal(got, want) {
		t.Errorf("caller: %s", cmp.Diff(want, got))
	}
	id := k.submit(fields{"code": "import time; time.sleep(.3)\n" + code})
	if got, want := briefs(k.follow(id, "").all()), append([]string{"status running"}, output...); !cmp.Equal(got, want) {
		t.Errorf("follower: %s", cmp.Diff(want, got))
	}
	flood := k.executeLive(fields{"code": "for i in range(20000): print('x' * 1023)"}).all()
	if end := flood[len(flood)-1]; end.brief() != "status completed ok" {
		t.Errorf("a flood ends with %v", end.data)
	}
}
