package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// broken is a Kaa whose Redis a test can break.
type broken struct {
	*kaa
	own  *testenv.RedisServer
	link *testenv.Proxy
	rdb  *redis.Client // not through the link
}

func startBroken(t *testing.T) *broken {
	t.Helper()
	return startBrokenWith(t, "")
}

// startBrokenWith gives the runner a variable of its own.
func startBrokenWith(t *testing.T, ofRunner string, vars ...string) *broken {
	t.Helper()
	own := testenv.OwnRedis(t, testenv.Durable()...)
	link := testenv.NewProxy(t, own.Addr)
	db := own.RedisDB
	db.URL = "redis://" + link.Addr
	b := &broken{kaa: prepare(t, &db, vars...), own: own, link: link, rdb: own.Client(t)}
	addr, _ := b.run(app.RunAPI)
	b.url = "http://" + addr.String()
	if ofRunner != "" {
		b.environ = append(b.environ, ofRunner)
	}
	b.run(app.RunRunner)
	return b
}

func zero(id string) redis.Z { return redis.Z{Member: id} }

// running submits a job that runs for that long, and returns once it does.
func (b *broken) running(seconds string) string {
	b.tb.Helper()
	id := b.submit(fields{"code": "import time\ntime.sleep(" + seconds + ")\nprint('kept')"})
	testenv.Eventually(b.tb, "the job runs", func() bool {
		return b.call(http.MethodGet, "/v1/jobs/"+id, nil).str("state") == "running"
	})
	return id
}

// refused checks that nothing is accepted, clearly and soon.
func (b *broken) refused(most time.Duration, code string) {
	b.tb.Helper()
	for path, body := range map[string]any{
		"/v1/jobs": fields{"code": "print(1)"}, executePath: fields{"code": "print(1)"},
		"/v1/jobs:batch": fields{"jobs": []fields{{"code": "print(1)"}, {"code": "print(2)"}}},
	} {
		at := time.Now()
		a := b.call(http.MethodPost, path, body)
		if a.status != http.StatusServiceUnavailable || a.str("code") != code || a.header.Get("Retry-After") == "" {
			b.tb.Errorf("%s: %d %v %s", path, a.status, a.header, a.raw)
		}
		testenv.Within(b.tb, most, at)
	}
	if a := b.call(http.MethodGet, "/readyz", nil); a.status != http.StatusServiceUnavailable {
		b.tb.Errorf("ready: %d", a.status)
	}
	if a := b.call(http.MethodGet, "/healthz", nil); a.status != http.StatusOK {
		b.tb.Errorf("alive: %d", a.status)
	}
}

// resumed waits until everything works again, by itself.
func (b *broken) resumed() {
	b.tb.Helper()
	testenv.Eventually(b.tb, "ready again", func() bool { return b.call(http.MethodGet, "/readyz", nil).status == http.StatusOK })
	testenv.Eventually(b.tb, "code is executed again", func() bool {
		a := b.call(http.MethodPost, executePath, fields{"code": "print(6*7)"})
		return a.status == http.StatusOK && a.str("stdout") == "42\n"
	})
}

// TestRedisFaults breaks Redis while one job runs and others wait. Nothing is accepted
// then; what was accepted before is kept, also the result of code that ends meanwhile.
func TestRedisFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		fault, heal func(t *testing.T, b *broken)
		lasts       time.Duration
		long        bool
	}{
		{
			"killed, with an append-only file",
			func(_ *testing.T, b *broken) { b.own.Kill() }, func(t *testing.T, b *broken) { t.Helper(); b.own.Restart(t) }, 0, false,
		},
		{
			"unreachable",
			func(_ *testing.T, b *broken) { b.link.Cut() }, func(_ *testing.T, b *broken) { b.link.Heal() }, 0, false,
		},
		{
			"standing still",
			func(_ *testing.T, b *broken) { b.own.Freeze() }, func(_ *testing.T, b *broken) { b.own.Thaw() }, 0, false,
		},
		{
			"a replica", func(t *testing.T, b *broken) {
				t.Helper()
				if err := b.rdb.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
					t.Fatal(err)
				}
			}, func(t *testing.T, b *broken) {
				t.Helper()
				if err := b.rdb.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
					t.Fatal(err)
				}
			}, 9 * time.Second, false,
		},
		{
			"full", func(t *testing.T, b *broken) {
				t.Helper()
				if err := b.rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
					t.Fatal(err)
				}
			}, func(t *testing.T, b *broken) {
				t.Helper()
				if err := b.rdb.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
					t.Fatal(err)
				}
			}, 9 * time.Second, false,
		},
		{
			"unreachable for 30 s",
			func(_ *testing.T, b *broken) { b.link.Cut() }, func(_ *testing.T, b *broken) { b.link.Heal() }, 30 * time.Second, true,
		},
		{
			"killed for 30 s",
			func(_ *testing.T, b *broken) { b.own.Kill() }, func(t *testing.T, b *broken) { t.Helper(); b.own.Restart(t) }, 30 * time.Second, true,
		},
		{
			"standing still for 30 s",
			func(_ *testing.T, b *broken) { b.own.Freeze() }, func(_ *testing.T, b *broken) { b.own.Thaw() }, 30 * time.Second, true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.long {
				testenv.Long(t)
			}
			b := startBroken(t)
			first, second := b.running("3"), b.running("15")
			queued := b.submit(fields{"code": "print('queued')"})
			delayed := b.submit(fields{"code": "print('delayed')", "delay": 1})
			tt.fault(t, b)
			began := time.Now()
			code := "unavailable"
			if tt.name == "full" {
				code = "storage_full"
			}
			b.refused(10*time.Second, code)
			<-time.After(tt.lasts - time.Since(began)) // the time that Redis is broken
			tt.heal(t, b)
			b.resumed()
			for id, want := range map[string]string{first: "kept\n", second: "kept\n", queued: "queued\n", delayed: "delayed\n"} {
				if end := b.await(id); end.str("state") != "completed" || end.str("result.stdout") != want || end.str("attempt") != "1" {
					t.Errorf("want %q: %s", want, end.raw)
				}
			}
			b.nothingElse(4)
		})
	}
}

// nothingElse checks that there are no jobs but n and those of resumed: what was
// refused was not stored, or is cancelled.
func (b *broken) nothingElse(n int) {
	b.tb.Helper()
	testenv.Eventually(b.tb, "all jobs are completed or cancelled", func() bool {
		jobs, _ := b.call(http.MethodGet, "/v1/jobs?limit=500", nil).body["jobs"].([]any)
		completed := 0
		for _, j := range jobs {
			fields, _ := j.(map[string]any)
			switch fields["state"] {
			case "completed":
				completed++
			case "cancelled":
			default:
				return false
			}
		}
		return completed > n
	})
}

// TestRedisHiccups: what is over before a client gives up, nobody notices.
func TestRedisHiccups(t *testing.T) {
	t.Parallel()
	b := startBroken(t)
	hiccups := map[string]func(){
		"the scripts are forgotten": func() { b.rdb.ScriptFlush(t.Context()) },
		"all connections are reset": b.link.Reset,
		"all clients are killed": func() {
			b.rdb.Do(t.Context(), "client", "kill", "type", "normal")
			b.rdb.Do(t.Context(), "client", "kill", "type", "pubsub")
		},
		"answers are slow": func() { b.link.Delay(200 * time.Millisecond) },
	}
	for name, hiccup := range hiccups {
		id := b.running("0.5")
		hiccup()
		for range 3 {
			if a := b.call(http.MethodPost, executePath, fields{"code": "print(6*7)"}); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", name, a.status, a.raw)
			}
		}
		if end := b.await(id); end.str("result.stdout") != "kept\n" {
			t.Errorf("%s: %s", name, end.raw)
		}
		b.link.Heal()
	}
}

// TestSentinel: Redis fails over while jobs run and wait. The replica has everything
// by then, and everything goes on there.
func TestSentinel(t *testing.T) {
	t.Parallel()
	s := testenv.NewSentinel(t)
	db := testenv.RedisDB{URL: "redis-sentinel://" + s.Addr + "/" + s.Name}
	b := &broken{kaa: prepare(t, &db)}
	addr, _ := b.run(app.RunAPI)
	b.url = "http://" + addr.String()
	b.run(app.RunRunner)
	first, second := b.running("1"), b.running("8")
	queued := b.submit(fields{"code": "print('queued')"})
	s.AwaitReplica(t)
	began := time.Now()
	s.KillMaster()
	ends := map[string]string{first: "kept\n", second: "kept\n", queued: "queued\n"}
	notReady := b.call(http.MethodGet, "/readyz", nil).status
	for failed := 0; ; failed++ {
		// Accepted and stored, or refused clearly; until it is accepted again.
		a := b.call(http.MethodPost, "/v1/jobs", fields{"code": "print('meanwhile')"})
		if a.status == http.StatusAccepted {
			ends[a.str("id")] = "meanwhile\n"
			t.Logf("it works again %s after the master died; refused %d times; /readyz said %d", time.Since(began).Round(10*time.Millisecond), failed, notReady)
			break
		}
		if a.status != http.StatusServiceUnavailable || a.str("code") != "unavailable" || a.header.Get("Retry-After") == "" {
			t.Fatalf("%d %v %s", a.status, a.header, a.raw)
		}
	}
	b.resumed()
	for id, want := range ends {
		if end := b.await(id); end.str("state") != "completed" || end.str("result.stdout") != want || end.str("attempt") != "1" {
			t.Errorf("want %q: %s", want, end.raw)
		}
	}
	if strings.Contains(b.logs.String(), "panic") {
		t.Error(b.logs.String())
	}
}
