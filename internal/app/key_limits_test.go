package app_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// limited is a Kaa with two runtimes, whose tenants have keys with limits.
type limited struct {
	*kaa
	path string
	keys []access.Key
}

func withLimits(t *testing.T) *limited {
	t.Helper()
	python := testenv.SystemPython()
	path := filepath.Join(t.TempDir(), "keys.json")
	k := prepare(t, testenv.Redis(t), "KAA_API_KEYS_FILE="+path, "KAA_ADMIN_KEYS="+adminOfTests, "KAA_CONCURRENCY=6", "KAA_RUNTIMES=one="+python+";two="+python)
	return &limited{kaa: k, path: path}
}

// key lists a key of a tenant, and returns its secret. It is to be called before the Kaa runs.
func (l *limited) key(tenant string, limits *job.KeyLimits, scopes ...access.Scope) string {
	secret := access.NewSecret()
	k := tenantKey(tenant, secret, scopes...)
	k.Limits = limits
	l.keys = append(l.keys, k)
	return secret
}

func (l *limited) run() {
	keysFile(l.tb, l.path, l.keys...)
	l.startAll(1)
}

// of returns a client with a key for a subtest.
func (l *limited) of(t *testing.T, key string) *kaa {
	t.Helper()
	k := l.as(key)
	k.tb = t
	return k
}

// refused checks that a call is refused because of a limit of its key.
func refused(t *testing.T, a answer, code, limit string, used, most string) {
	t.Helper()
	if a.status != http.StatusTooManyRequests || a.str("code") != code || a.str("keyLimit") != limit || a.str("used") != used || a.str("allowed") != most || a.str("depth") != used || a.str("limit") != most || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s, Retry-After %q; want %s because of %s", a.status, a.raw, a.header.Get("Retry-After"), code, limit)
	}
}

// TestLimitsOfKeys: each limit of a key holds where it is asked for, and neither other keys nor other tenants
// are concerned.
func TestLimitsOfKeys(t *testing.T) {
	t.Parallel()
	l := withLimits(t)
	free := l.key("free", nil)
	rate, rateToo := l.key("rate", &job.KeyLimits{Rate: new(0.001), Burst: new(3)}), l.key("rate", nil)
	busy := l.key("busy", &job.KeyLimits{Concurrency: new(1)})
	deep, deepToo := l.key("deep", &job.KeyLimits{Depth: new(2)}), l.key("deep", &job.KeyLimits{Depth: new(3)})
	many := l.key("many", &job.KeyLimits{Sessions: new(2)})
	large := l.key("large", &job.KeyLimits{SessionMemory: new(int64(200 << 20)), SessionDisk: new(int64(3 << 20))})
	small := l.key("small", &job.KeyLimits{Ceilings: job.QuotaRequest{"timeout": 20, "memoryBytes": 128 << 20}})
	typed := l.key("typed", &job.KeyLimits{Runtimes: []string{"two"}})
	operator := l.key("ops", &job.KeyLimits{Depth: new(1), Runtimes: []string{"two"}}, access.Admin)
	l.run()
	later := fields{"code": "1", "delay": 3600}
	submit := func(k *kaa) answer { return k.call(http.MethodPost, "/v1/jobs", later) }
	others := func(t *testing.T) { // are not concerned
		t.Helper()
		other := l.of(t, free)
		if a := submit(other); a.status != http.StatusAccepted {
			t.Errorf("another tenant: %d %s", a.status, a.raw)
		}
		if got := other.execute(fields{"code": "print(42)", "runtime": "one"}).str("stdout"); got != "42\n" {
			t.Errorf("another tenant: %q", got)
		}
	}

	t.Run("rate", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, rate)
		for i, left := range []string{"2", "1", "0"} {
			if a := k.call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusOK || a.header.Get("RateLimit-Remaining") != left || a.header.Get("RateLimit-Limit") != "3" {
				t.Errorf("%d: %d %s, %v", i, a.status, a.raw, a.header)
			}
		}
		refused(t, k.call(http.MethodGet, "/v1/jobs", nil), "rate_limited", "rate", "3", "3")
		if !l.of(t, rateToo).accepted() {
			t.Error("another key of the tenant is refused")
		}
		others(t)
	})
	t.Run("concurrency", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, busy)
		first := k.submit(sleeper())
		testenv.Eventually(t, "the first job runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+first, nil).str("state") == "running" })
		second := k.submit(fields{"code": "print(2)"})
		if a := k.call(http.MethodGet, "/v1/jobs/"+second, nil); a.str("state") != "queued" || a.str("waitsFor") != "key" {
			t.Errorf("the second job: %s", a.raw)
		}
		others(t)
		if got := k.in(k.open(fields{}), "print(3)"); got != "3\n" {
			t.Errorf("an execution in a session: %q", got)
		}
		k.call(http.MethodDelete, "/v1/jobs/"+first, nil)
		if a := k.await(second); a.str("result.stdout") != "2\n" {
			t.Errorf("the second job, then: %s", a.raw)
		}
	})
	t.Run("depth", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, deep)
		session := k.open(fields{})
		for range 2 {
			if a := submit(k); a.status != http.StatusAccepted {
				t.Fatalf("%d %s", a.status, a.raw)
			}
		}
		refused(t, submit(k), "key_queue_full", "depth", "2", "2")
		refused(t, k.call(http.MethodPost, executePath, fields{"code": "1"}), "key_queue_full", "depth", "2", "2")
		refused(t, k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": session}), "key_queue_full", "depth", "2", "2")
		refused(t, k.call(http.MethodPost, sessionsPath+"/"+session+"/restart", nil), "key_queue_full", "depth", "2", "2")
		if a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []any{later}}); !strings.Contains(a.raw, `"keyLimit":"depth"`) {
			t.Errorf("in a batch: %d %s", a.status, a.raw)
		}
		s := k.connect(session)
		s.send(fields{"type": "execute", "id": "x", "code": "1"})
		if e, _ := s.next(); e.name != "error" || e.str("code") != "key_queue_full" || !strings.Contains(e.str("detail"), "the limit is 2") {
			t.Errorf("by a socket: %v", e.data)
		}
		if a := submit(l.of(t, deepToo)); a.status != http.StatusAccepted {
			t.Errorf("another key of the tenant: %d %s", a.status, a.raw)
		}
		refused(t, submit(l.of(t, deepToo)), "key_queue_full", "depth", "3", "3")
		others(t)
	})
	t.Run("sessions", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, many)
		first := k.open(fields{})
		if a := k.call(http.MethodPost, sessionsPath+"/"+first+"/fork", fields{"count": 2}); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_sessions" {
			t.Errorf("two forks: %d %s", a.status, a.raw)
		}
		k.fork(first, 1)
		refused(t, k.call(http.MethodPost, sessionsPath, fields{}), "too_many_sessions", "sessions", "2", "2")
		k.call(http.MethodDelete, sessionsPath+"/"+first, nil)
		k.open(fields{})
		l.of(t, free).open(fields{})
		others(t)
	})
	t.Run("memory and disk of sessions", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, large)
		open := func(memory, disk int) answer {
			return k.call(http.MethodPost, sessionsPath, fields{"limits": fields{"memoryBytes": memory << 20, "diskBytes": disk << 20}})
		}
		first := open(100, 1)
		if first.status != http.StatusCreated {
			t.Fatalf("%d %s", first.status, first.raw)
		}
		for limit, a := range map[string]answer{"sessionMemoryBytes": open(101, 1), "sessionDiskBytes": open(64, 3)} {
			code := map[string]string{"sessionMemoryBytes": "key_session_memory_full", "sessionDiskBytes": "key_session_disk_full"}[limit]
			if a.status != http.StatusTooManyRequests || a.str("code") != code || a.str("keyLimit") != limit || a.header.Get("Retry-After") == "" {
				t.Errorf("%d %s, want %s", a.status, a.raw, limit)
			}
		}
		if a := k.call(http.MethodPost, sessionsPath+"/"+first.str("id")+"/fork", fields{"count": 3}); a.status != http.StatusTooManyRequests || a.str("code") != "key_session_disk_full" || !strings.Contains(a.raw, `"allowed":3145728`) {
			t.Errorf("three forks: %d %s", a.status, a.raw)
		}
		k.fork(first.str("id"), 1) // which shares the memory
		if a := open(100, 1); a.status != http.StatusCreated {
			t.Errorf("as much as is left: %d %s", a.status, a.raw)
		}
		if a := k.call(http.MethodGet, "/v1/usage", nil); !strings.Contains(a.raw, `"sessionMemoryBytes":{"used":209715200,"allowed":209715200}`) || !strings.Contains(a.raw, `"sessionDiskBytes":{"used":3145728,"allowed":3145728}`) {
			t.Errorf("present use: %s", a.raw)
		}
		l.of(t, free).open(fields{})
		others(t)
	})
	t.Run("ceilings", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, small)
		session := k.open(fields{})
		above := fields{"code": "1", "timeout": 21}
		for name, a := range map[string]answer{
			"execution":   k.call(http.MethodPost, executePath, above),
			"job":         k.call(http.MethodPost, "/v1/jobs", above),
			"batch":       k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []any{above}}),
			"in session":  k.call(http.MethodPost, executePath, fields{"code": "1", "timeout": 21, "sessionId": session}),
			"memory":      k.call(http.MethodPost, executePath, fields{"code": "1", "limits": fields{"memoryBytes": 129 << 20}}),
			"session":     k.call(http.MethodPost, sessionsPath, fields{"limits": fields{"memoryBytes": 129 << 20}}),
			"of a stream": k.call(http.MethodPost, executePath, above, "Accept: text/event-stream"),
		} {
			if !strings.Contains(a.raw, "the ceiling of this API key") || name != "batch" && a.status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, a.status, a.raw)
			}
		}
		s := k.connect(session)
		s.send(fields{"type": "execute", "id": "x", "code": "1", "timeout": 21})
		if e, _ := s.next(); e.name != "error" || !strings.Contains(e.str("detail"), "the ceiling of this API key") {
			t.Errorf("by a socket: %v", e.data)
		}
		// Below it all is well, and the default is lowered.
		if a := k.execute(fields{"code": "print('x' * 3)", "timeout": 20}); a.str("status") != "ok" {
			t.Errorf("at the ceiling: %s", a.raw)
		}
		if a := k.execute(fields{"code": "b = bytearray(200 << 20)"}); a.str("status") == "ok" {
			t.Errorf("beyond the memory of the key: %s", a.raw)
		}
		if a := l.of(t, free).execute(fields{"code": "b = bytearray(200 << 20)", "timeout": 21}); a.str("status") != "ok" {
			t.Errorf("another tenant: %s", a.raw)
		}
	})
	t.Run("runtimes", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, typed)
		forbidden := fields{"code": "1", "runtime": "one"}
		for name, a := range map[string]answer{
			"execution": k.call(http.MethodPost, executePath, forbidden),
			"job":       k.call(http.MethodPost, "/v1/jobs", forbidden),
			"session":   k.call(http.MethodPost, sessionsPath, fields{"runtime": "one"}),
			"unknown":   k.call(http.MethodPost, executePath, fields{"code": "1", "runtime": "none"}),
		} {
			if a.status != http.StatusForbidden || a.str("code") != "runtime_not_allowed" || a.str("runtimes") != "[two]" || !strings.Contains(a.str("detail"), "use one of two") {
				t.Errorf("%s: %d %s", name, a.status, a.raw)
			}
		}
		if a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []any{forbidden, fields{"code": "1"}}}); strings.Count(a.raw, "runtime_not_allowed") != 1 || strings.Count(a.raw, `"state":"queued"`) != 1 {
			t.Errorf("in a batch: %d %s", a.status, a.raw)
		}
		if a := k.await(k.submit(fields{"code": "1"})); a.str("runtime") != "two" || a.str("state") != "completed" {
			t.Errorf("a job that names none: %s", a.raw)
		}
		if a := k.call(http.MethodPost, sessionsPath, fields{}); a.str("runtime") != "two" {
			t.Errorf("a session that names none: %s", a.raw)
		}
		if a := k.call(http.MethodGet, "/v1/runtimes", nil); strings.Contains(a.raw, `"name":"one"`) || !strings.Contains(a.raw, `"name":"two"`) {
			t.Errorf("list: %s", a.raw)
		}
		others(t)
	})
	t.Run("acting for a tenant", func(t *testing.T) {
		t.Parallel()
		k := l.of(t, operator)
		const acting = "Kaa-Tenant: acting"
		if a := k.call(http.MethodPost, executePath, fields{"code": "1", "runtime": "one"}, acting); a.str("code") != "runtime_not_allowed" {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if a := k.call(http.MethodPost, "/v1/jobs", later, acting); a.status != http.StatusAccepted {
			t.Errorf("%d %s", a.status, a.raw)
		}
		refused(t, k.call(http.MethodPost, "/v1/jobs", later, acting), "key_queue_full", "depth", "1", "1")
	})
}

// TestLimitsThatChange: other limits of a key in the file hold soon, for sockets that are open too, and end nothing.
func TestLimitsThatChange(t *testing.T) {
	t.Parallel()
	l := withLimits(t)
	secret := l.key("acme", &job.KeyLimits{Depth: new(1), Ceilings: job.QuotaRequest{"timeout": 1}})
	l.run()
	k := l.of(t, secret)
	session := k.open(fields{})
	s := k.connect(session)
	long := fields{"code": "1", "timeout": 9}
	if a := k.call(http.MethodPost, "/v1/jobs", long); a.status != http.StatusBadRequest {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	l.keys[0].Limits = &job.KeyLimits{Ceilings: job.QuotaRequest{"timeout": 20}}
	keysFile(t, l.path, l.keys...)
	testenv.Eventually(t, "the other limits hold", func() bool { return k.call(http.MethodPost, "/v1/jobs", long).status == http.StatusAccepted })
	s.send(fields{"type": "execute", "id": "x", "code": "1", "timeout": 9})
	all := s.until(isEnd)
	if last := all[len(all)-1]; last.str("state") != "completed" {
		t.Errorf("by the socket of before: %v", briefs(all))
	}
	l.keys[0].Limits = nil
	keysFile(t, l.path, l.keys...)
	testenv.Eventually(t, "no limits hold", func() bool {
		return k.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "timeout": 30}).status == http.StatusAccepted
	})
}

// TestLimitsOfMadeKeys: an operator gives a key limits, and sees them; what they may be is checked.
func TestLimitsOfMadeKeys(t *testing.T) {
	t.Parallel()
	l := withLimits(t)
	l.run()
	admin := l.as(adminOfTests)
	admin.execute(fields{"code": "1"}) // a runner has said which runtimes there are
	for body, says := range map[string]string{
		`{"rate": 0}`: "body.limits.rate", `{"rate": -5}`: "body.limits.rate", `{"depth": 0}`: "body.limits.depth", `{"depth": 1.5}`: "body.limits.depth",
		`{"burst": 3}`: "body.limits.burst", `{"rat": 3}`: "body.limits", `{"ceilings": {"memory": 3}}`: "memory", `{"ceilings": {"memoryBytes": 0}}`: "body.limits.ceilings.memoryBytes",
		`{"ceilings": {"timeout": -1}}`: "body.limits.ceilings.timeout", `{"runtimes": []}`: "body.limits.runtimes", `{"runtimes": ["three"]}`: "use some of one, two",
		`{"sessions": "many"}`: "body.limits.sessions", `7`: "body.limits",
	} {
		if a := admin.call(http.MethodPost, "/v1/keys", `{"tenant": "acme", "limits": `+body+`}`); a.status != http.StatusBadRequest || !strings.Contains(a.raw, says) {
			t.Errorf("%s: %d %s, want %s named", body, a.status, a.raw, says)
		}
	}
	const limits = `{"rate":50,"burst":60,"concurrency":8,"depth":1,"sessions":20,"ceilings":{"memoryBytes":134217728,"timeout":10},"runtimes":["two"]}`
	made := admin.call(http.MethodPost, "/v1/keys", `{"tenant": "acme", "limits": `+limits+`}`)
	if made.status != http.StatusCreated || !strings.Contains(made.raw, `"limits":`+limits) {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	if a := admin.call(http.MethodGet, "/v1/keys?tenant=acme", nil); !strings.Contains(a.raw, `"limits":`+limits) {
		t.Errorf("list: %s", a.raw)
	}
	for _, none := range []string{"null", "{}", `{"ceilings": null, "depth": null, "runtimes": null}`, `{"ceilings": {}}`} {
		if a := admin.call(http.MethodPost, "/v1/keys", `{"tenant": "acme", "limits": `+none+`}`); a.status != http.StatusCreated || strings.Contains(a.raw, "limits") {
			t.Errorf("%s: %d %s", none, a.status, a.raw)
		}
	}
	k := l.as(made.str("key"))
	k.submit(fields{"code": "1", "delay": 3600})
	refused(t, k.call(http.MethodPost, "/v1/jobs", fields{"code": "1"}), "key_queue_full", "depth", "1", "1")
}
