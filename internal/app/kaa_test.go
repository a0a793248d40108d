package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/devredis"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) {
	if name := testenv.ChildName(); name != "" {
		os.Exit(child(name))
	}
	os.Exit(testenv.Main(m))
}

// kaa is an API and some runners on a real Redis, inside the test process.
type kaa struct {
	tb       testing.TB
	url      string
	redis    *testenv.RedisDB
	environ  app.Environment
	periods  app.Periods
	dialects []app.Dialect
	logs     *testenv.Buffer
	key      string
	client   *http.Client
}

// start runs a Kaa with that many runners; vars are NAME=VALUE.
func start(tb testing.TB, runners int, vars ...string) *kaa {
	tb.Helper()
	k := prepare(tb, testenv.Redis(tb), vars...)
	k.startAll(runners)
	return k
}

// startAll starts an API and that many runners.
func (k *kaa) startAll(runners int) {
	k.tb.Helper()
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	for range runners {
		k.run(app.RunRunner)
	}
}

// prepare makes a Kaa of which nothing runs yet.
func prepare(tb testing.TB, redis *testenv.RedisDB, vars ...string) *kaa {
	tb.Helper()
	k := &kaa{tb: tb, redis: redis, logs: new(testenv.Buffer), client: &http.Client{Transport: keepsPromises{tb, new(http.Transport)}}}
	// What runs in the test's own process does not die, however late its heartbeats are.
	k.periods.Lease = 5 * time.Minute
	// On a busy machine many processes need their time to end.
	k.periods.Interpreters = testenv.Timeout
	tb.Cleanup(k.client.CloseIdleConnections)
	k.environ = append(app.Environment{
		"KAA_ADDR=127.0.0.1:0", "KAA_REDIS_URL=" + redis.URL, "KAA_CONCURRENCY=2", "KAA_PYTHON=" + testenv.SystemPython(),
		"KAA_WORK_DIR=" + tb.TempDir(), "KAA_BLOB_URL=file://" + tb.TempDir(), "KAA_DRAIN_TIMEOUT=5s", "KAA_LOG_LEVEL=DEBUG",
		"KAA_SESSION_IDLE_TIMEOUT=1h", // parallel tests of a session may wait for their turn
		"KAA_PLAIN=" + testenv.Plain(),
	}, vars...)
	return k
}

// run starts a process's code and returns once it is ready; stop ends it, as the
// end of the test does, and returns what it returned.
func (k *kaa) run(main func(context.Context, app.Process) error) (addr net.Addr, stop func() error) {
	k.tb.Helper()
	return k.runHurried(main, nil)
}

// runHurried does the same with a second signal.
func (k *kaa) runHurried(main func(context.Context, app.Process) error, hurry <-chan struct{}) (addr net.Addr, stop func() error) {
	k.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan net.Addr, 1)
	done := make(chan error, 1)
	p := app.Process{Environ: k.environ, Stdout: io.Discard, Stderr: k.logs, Ready: func(a net.Addr) { ready <- a }, Hurry: hurry, Periods: k.periods, Dialects: k.dialects, Redis: devredis.Start}
	go func() { done <- main(ctx, p) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	k.tb.Cleanup(func() {
		if err := stop(); err != nil {
			k.tb.Errorf("stop: %v", err)
		}
	})
	select {
	case addr = <-ready:
	case err := <-done:
		done <- err
		k.tb.Fatalf("start: %v\n%s", err, k.logs)
	}
	return addr, stop
}

// answer is what a call got.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

// str returns a field by its path, as text.
func (a answer) str(path string) string {
	var v any = a.body
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[name]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// call sends body as it is when it is a string, else as JSON.
func (k *kaa) call(method, path string, body any, headers ...string) answer {
	k.tb.Helper()
	a, err := k.try(k.tb.Context(), method, path, body, headers...)
	if err != nil {
		k.tb.Fatal(err)
	}
	return a
}

func (k *kaa) try(ctx context.Context, method, path string, body any, headers ...string) (answer, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.url+path, reader)
	if err != nil {
		return answer{}, err
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if k.key != "" {
		req.Header.Set("Authorization", "Bearer "+k.key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return k.read(req)
}

// read sends a request and returns what it is answered.
func (k *kaa) read(req *http.Request) (answer, error) {
	res, err := k.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &a.body) // not all answers are JSON
	return a, nil
}

type fields map[string]any

const executePath = "/process/interpreter/execute"

// execute runs code and returns the result.
func (k *kaa) execute(body fields) answer {
	k.tb.Helper()
	a := k.call(http.MethodPost, executePath, body)
	if a.status != http.StatusOK {
		k.tb.Fatalf("execute: %d %s", a.status, a.raw)
	}
	return a
}

// submit makes a job and returns its id.
func (k *kaa) submit(body fields, headers ...string) string {
	k.tb.Helper()
	a := k.call(http.MethodPost, "/v1/jobs", body, headers...)
	if a.status != http.StatusAccepted {
		k.tb.Fatalf("submit: %d %s", a.status, a.raw)
	}
	return a.str("id")
}

// await polls a job until it is in a terminal state.
func (k *kaa) await(id string) answer {
	k.tb.Helper()
	var a answer
	for began := time.Now(); time.Since(began) < 5*time.Minute; {
		a = k.call(http.MethodGet, "/v1/jobs/"+id+"?wait=30s", nil)
		switch a.str("state") {
		case "completed", "cancelled", "failed":
			return a
		}
		if a.status != http.StatusServiceUnavailable && a.status != http.StatusOK {
			break
		}
		<-time.After(50 * time.Millisecond) // it may be away still
	}
	k.tb.Fatalf("job %s did not end: %d %s", id, a.status, a.raw)
	return answer{}
}
