package job_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func keyLimits(t *testing.T, text string) *job.KeyLimits {
	t.Helper()
	var k job.KeyLimits
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		t.Fatal(err)
	}
	return &k
}

// TestKeyLimitsCheck: what the limits of a key may be, and the field that is named.
func TestKeyLimitsCheck(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: "",
		`{"rate": 0.5, "burst": 3, "concurrency": 1, "depth": 1, "sessions": 1}`:                                                     "",
		`{"ceilings": {"timeout": 0.5, "memoryBytes": 33554432, "cpus": 0.25, "cpuSeconds": 1.5, "outputBytes": 1, "fileBytes": 1}}`: "",
		`{"sessionMemoryBytes": 1, "sessionDiskBytes": 1125899906842624}`:                                                            "",
		`{"sessionMemoryBytes": 0}`: "limits.sessionMemoryBytes: must be from 1", `{"sessionDiskBytes": 1125899906842625}`: "limits.sessionDiskBytes: must be from 1",
		`{"runtimes": ["python3.11", "science"]}`: "",
		`{"rate": 0}`: "limits.rate: must be from 0.001", `{"rate": -1}`: "limits.rate", `{"rate": 1e9}`: "limits.rate",
		`{"burst": 3}`: "limits.burst: needs limits.rate", `{"rate": 1, "burst": 0}`: "limits.burst",
		`{"concurrency": 0}`: "limits.concurrency: must be from 1", `{"depth": -1}`: "limits.depth", `{"sessions": 0}`: "limits.sessions",
		`{"depth": 10000000000}`:                                "limits.depth",
		`{"ceilings": {"memory": 1}}`:                           `limits.ceilings: "memory" is no limit of an execution; use some of timeout, memoryBytes`,
		`{"ceilings": {"timeout": 0}}`:                          "limits.ceilings.timeout: must be from 0.001",
		`{"ceilings": {"timeout": 1e300}}`:                      "limits.ceilings.timeout",
		`{"ceilings": {"memoryBytes": 0}}`:                      "limits.ceilings.memoryBytes: must be from 33554432",
		`{"ceilings": {"memoryBytes": 1e300}}`:                  "limits.ceilings.memoryBytes",
		`{"ceilings": {"fileBytes": 0}}`:                        "limits.ceilings.fileBytes: must be from 1",
		`{"ceilings": {"outputBytes": -1}}`:                     "limits.ceilings.outputBytes",
		`{"ceilings": {"processes": 1.5}}`:                      "limits.ceilings.processes",
		`{"ceilings": {"processes": 1e10}}`:                     "limits.ceilings.processes",
		`{"ceilings": {"cpuSeconds": 1e300}}`:                   "limits.ceilings.cpuSeconds",
		`{"runtimes": []}`:                                      "limits.runtimes: is empty",
		`{"runtimes": ["Py 3"]}`:                                `limits.runtimes: "Py 3" is not the name`,
		`{"runtimes": ["a", "b", "a"]}`:                         `limits.runtimes: "a" occurs twice`,
		`{"runtimes": [` + strings.Repeat(`"a",`, 64) + `"a"]}`: "limits.runtimes: has 65 runtimes",
	} {
		wrong := keyLimits(t, text).Check()
		if want == "" {
			if len(wrong) > 0 {
				t.Errorf("%s: %v", text, wrong)
			}
		} else if len(wrong) != 1 || !strings.HasPrefix(wrong[0].Field+": "+wrong[0].Message, want) {
			t.Errorf("%s: %v, want %s", text, wrong, want)
		}
	}
	if wrong := (*job.KeyLimits)(nil).Check(); wrong != nil {
		t.Errorf("none: %v", wrong)
	}
}

// TestKeyCeilings: a key's ceilings hold where they are lower than those of the configuration, and lower
// the defaults. A request beyond them is refused in words that name them.
func TestKeyCeilings(t *testing.T) {
	t.Parallel()
	base := limits()
	base.MaxTimeout, base.DefaultTimeout = time.Minute, 10*time.Second
	ask := func(key string, timeout *float64, r job.QuotaRequest) (job.NewJob, error) {
		return base.For(keyLimits(t, key)).Accept(job.Request{Code: "1", Timeout: timeout, Limits: r}, time.Now())
	}
	number := func(f float64) *float64 { return &f }
	for _, tt := range []struct {
		name, key string
		timeout   *float64
		limits    job.QuotaRequest
		refused   string
	}{
		{"below", `{"ceilings": {"timeout": 5, "memoryBytes": 67108864}}`, number(5), job.QuotaRequest{"memoryBytes": 67108864}, ""},
		{"time above", `{"ceilings": {"timeout": 5}}`, number(5.1), nil, "timeout: must be from 0.001 to 5 seconds, the ceiling of this API key"},
		{"memory above", `{"ceilings": {"memoryBytes": 67108864}}`, nil, job.QuotaRequest{"memoryBytes": 67108865}, "limits.memoryBytes: must be from 33554432 to 67108864, the ceiling of this API key"},
		{"processor time above", `{"ceilings": {"cpuSeconds": 2}}`, nil, job.QuotaRequest{"cpuSeconds": 3}, "limits.cpuSeconds: must be from 0.01 to 2 seconds, the ceiling of this API key"},
		{"above the configuration's", `{"ceilings": {"timeout": 900, "processes": 2000000}}`, number(61), nil, "timeout: must be from 0.001 to 60 seconds"},
		{"another limit", `{"ceilings": {"timeout": 5}}`, nil, job.QuotaRequest{"memoryBytes": 1 << 60}, "limits.memoryBytes: must be from 33554432 to 4294967296"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ask(tt.key, tt.timeout, tt.limits)
			if got := errorText(err); got != tt.refused {
				t.Errorf("%q, want %q", got, tt.refused)
			}
		})
	}
	n, err := ask(`{"ceilings": {"timeout": 5, "memoryBytes": 67108864, "cpuSeconds": 2, "outputBytes": 10, "openFiles": 4000}}`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := base.DefaultQuota
	want.MemoryBytes, want.CPUTime, want.OutputBytes = 67108864, 2*time.Second, 10
	if diff := cmp.Diff(want, n.Spec.Quota); diff != "" || n.Job.Timeout != 5*time.Second {
		t.Errorf("defaults: timeout %s, limits (-want +got):\n%s", n.Job.Timeout, diff)
	}
	se, err := base.For(keyLimits(t, `{"ceilings": {"memoryBytes": 67108864}}`)).AcceptSession(job.SessionRequest{})
	if err != nil || se.Spec.Quota.MemoryBytes != 67108864 {
		t.Errorf("session: %v %v", se, err)
	}
	none, err := base.For(nil).Accept(job.Request{Code: "1"}, time.Now())
	if err != nil || none.Spec.Quota != base.DefaultQuota {
		t.Errorf("without limits: %+v %v", none.Spec.Quota, err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestKeyRuntimes: which runtime a request of a key gets.
func TestKeyRuntimes(t *testing.T) {
	t.Parallel()
	some := keyLimits(t, `{"runtimes": ["b", "a"]}`)
	for _, tt := range []struct {
		key         *job.KeyLimits
		named, want string
		refused     bool
	}{
		{nil, "", "", false},
		{nil, "x", "x", false},
		{new(job.KeyLimits), "x", "x", false},
		{some, "", "b", false},
		{some, "a", "a", false},
		{some, "c", "", true},
	} {
		got, err := tt.key.Runtime(tt.named)
		refused, is := errors.AsType[*job.RuntimeError](err)
		if got != tt.want || is != tt.refused || is && (refused.Name != tt.named || len(refused.Allowed) != 2) {
			t.Errorf("%q: %q %v", tt.named, got, err)
		}
	}
	all := []job.Runtime{{Name: "a", Default: true}, {Name: "b"}, {Name: "c"}}
	if diff := cmp.Diff([]job.Runtime{{Name: "a"}, {Name: "b", Default: true}}, some.OfRuntimes(all)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got := (*job.KeyLimits)(nil).OfRuntimes(all); len(got) != 3 || !all[0].Default {
		t.Errorf("all: %v", got)
	}
}

// TestKeyNumbers: absent limits are none.
func TestKeyNumbers(t *testing.T) {
	t.Parallel()
	for _, none := range []*job.KeyLimits{nil, {}} {
		if none.RateOf() != (job.RateLimit{}) || none.MostRunning()+none.MostWaiting()+none.SessionBounds().MostOwn != 0 || !none.IsZero() {
			t.Errorf("%+v is a limit", none)
		}
	}
	k := keyLimits(t, `{"rate": 2.5, "concurrency": 3, "depth": 4, "sessions": 5}`)
	if k.RateOf() != (job.RateLimit{PerSecond: 2.5, Burst: 2}) || k.MostRunning() != 3 || k.MostWaiting() != 4 || k.SessionBounds().MostOwn != 5 {
		t.Errorf("%+v %+v", k, k.RateOf())
	}
	if r := keyLimits(t, `{"rate": 0.5}`).RateOf(); r.Burst != 1 {
		t.Errorf("%+v", r)
	}
	if r := keyLimits(t, `{"rate": 5, "burst": 9}`).RateOf(); r.Burst != 9 {
		t.Errorf("%+v", r)
	}
}
