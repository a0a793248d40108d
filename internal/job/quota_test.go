package job_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func defaultQuota() job.Quota {
	return job.Quota{
		MemoryBytes: 512 << 20, CPUs: 1, Processes: 128, OpenFiles: 1024, FileBytes: 1 << 20, DiskBytes: 2 << 20, OutputBytes: 1000, ResultBytes: 2000,
	}
}

func maxQuota() job.Quota {
	return job.Quota{
		MemoryBytes: 4 << 30, CPUs: 2, CPUTime: time.Hour, Processes: 1024, OpenFiles: 4096, FileBytes: 1 << 30, DiskBytes: 1 << 30, OutputBytes: 8000, ResultBytes: 9000,
		Calls: 100, CallBytes: 200, CallTime: time.Minute, CallsAtOnce: 50,
	}
}

func TestAcceptQuota(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		asked  job.QuotaRequest
		noTime bool // there is no ceiling of CPU time
		change func(*job.Quota)
	}{
		{"defaults", job.QuotaRequest{}, false, func(*job.Quota) {}},
		{"memory", job.QuotaRequest{"memoryBytes": 32 << 20}, false, func(q *job.Quota) { q.MemoryBytes = 32 << 20 }},
		{"cpus", job.QuotaRequest{"cpus": 0.01}, false, func(q *job.Quota) { q.CPUs = 0.01 }},
		{"cpu time", job.QuotaRequest{"cpuSeconds": 0.5}, false, func(q *job.Quota) { q.CPUTime = time.Second / 2 }},
		{"cpu time without a ceiling", job.QuotaRequest{"cpuSeconds": 1e6}, true, func(q *job.Quota) { q.CPUTime = 1e6 * time.Second }},
		{"processes", job.QuotaRequest{"processes": 1024}, false, func(q *job.Quota) { q.Processes = 1024 }},
		{"open files", job.QuotaRequest{"openFiles": 16}, false, func(q *job.Quota) { q.OpenFiles = 16 }},
		{"no files", job.QuotaRequest{"fileBytes": 0}, false, func(q *job.Quota) { q.FileBytes = 0 }},
		{"disk", job.QuotaRequest{"diskBytes": 1 << 30}, false, func(q *job.Quota) { q.DiskBytes = 1 << 30 }},
		{"no output", job.QuotaRequest{"outputBytes": 0}, false, func(q *job.Quota) { q.OutputBytes = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := limits()
			if tt.noTime {
				l.MaxQuota.CPUTime = 0
			}
			n, err := l.Accept(job.Request{Code: "1", Limits: tt.asked}, now)
			spec := n.Spec
			if err != nil {
				t.Fatal(err)
			}
			want := defaultQuota()
			tt.change(&want)
			if diff := cmp.Diff(want, spec.Quota); diff != "" {
				t.Errorf("quota (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAcceptRefusesQuota(t *testing.T) {
	t.Parallel()
	tests := []struct {
		field string
		asked job.QuotaRequest
		says  string
	}{
		{"memoryBytes", job.QuotaRequest{"memoryBytes": 32<<20 - 1}, "from 33554432 to 4294967296"},
		{"memoryBytes", job.QuotaRequest{"memoryBytes": 4<<30 + 1}, "from 33554432 to 4294967296"},
		{"memoryBytes", job.QuotaRequest{"memoryBytes": math.MinInt64}, "from 33554432 to 4294967296"},
		{"cpus", job.QuotaRequest{"cpus": 0.0}, "from 0.01 to 2"},
		{"cpus", job.QuotaRequest{"cpus": 2.5}, "from 0.01 to 2"},
		{"cpus", job.QuotaRequest{"cpus": math.NaN()}, "from 0.01 to 2"},
		{"cpuSeconds", job.QuotaRequest{"cpuSeconds": 0.0}, "from 0.01 to 3600 seconds"},
		{"cpuSeconds", job.QuotaRequest{"cpuSeconds": 1e300}, "from 0.01 to 3600 seconds"},
		{"processes", job.QuotaRequest{"processes": 0}, "from 1 to 1024"},
		{"processes", job.QuotaRequest{"processes": math.MaxInt64}, "from 1 to 1024"},
		{"openFiles", job.QuotaRequest{"openFiles": 15}, "from 16 to 4096"},
		{"fileBytes", job.QuotaRequest{"fileBytes": -1}, "from 0 to 1073741824"},
		{"diskBytes", job.QuotaRequest{"diskBytes": 65535}, "from 65536 to 1073741824"},
		{"outputBytes", job.QuotaRequest{"outputBytes": 8001}, "from 0 to 8000"},
		{"resultBytes", job.QuotaRequest{"resultBytes": 0}, "from 1 to 9000"},
	}
	for _, tt := range tests {
		t.Run(tt.field+" "+tt.says, func(t *testing.T) {
			t.Parallel()
			_, err := limits().Accept(job.Request{Code: "1", Limits: tt.asked}, now)
			var invalid *job.ValidationError
			if !errors.As(err, &invalid) || len(invalid.Fields) != 1 ||
				invalid.Fields[0].Field != "limits."+tt.field || !strings.Contains(invalid.Fields[0].Message, tt.says) {
				t.Errorf("err = %v, want limits.%s: …%s…", err, tt.field, tt.says)
			}
		})
	}
	t.Run("what no duration holds, without a ceiling", func(t *testing.T) {
		t.Parallel()
		l := limits()
		l.MaxQuota.CPUTime = 0
		_, err := l.Accept(job.Request{Code: "1", Limits: job.QuotaRequest{"cpuSeconds": 1e300}}, now)
		if err == nil || !strings.Contains(err.Error(), "from 0.01 to 31536000 seconds") {
			t.Errorf("err = %v", err)
		}
	})
}

// TestSpecJSON: the store keeps a spec as JSON, and has some that were recorded
// before there were quotas and runtimes.
func TestSpecJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		spec job.Spec
		json string
	}{
		{"old", job.Spec{Code: "1", Timeout: time.Second}, `{"code":"1","timeout":1000000000}`},
		{
			"new",
			job.Spec{Code: "1", Timeout: time.Second, Runtime: "py", Quota: job.Quota{MemoryBytes: 1, CPUs: 0.5, CPUTime: time.Second}},
			`{"code":"1","timeout":1000000000,"runtime":"py","quota":{"memoryBytes":1,"cpus":0.5,"cpuTime":1000000000}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(tt.spec)
			if err != nil || string(text) != tt.json {
				t.Errorf("JSON = %s, %v; want %s", text, err, tt.json)
			}
			var back job.Spec
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.spec, back); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryLimitHasARow: a field of Quota that the table lacks would be ignored.
func TestEveryLimitHasARow(t *testing.T) {
	t.Parallel()
	var all job.Quota
	fields := reflect.ValueOf(&all).Elem()
	for _, field := range fields.Fields() {
		field.Set(reflect.ValueOf(100).Convert(field.Type()))
	}
	if got := (job.Quota{}).Or(all); got != all {
		t.Errorf("Or forgets a limit: %+v", got)
	}
	if got := (job.Quota{}).AtLeast(all); got != all {
		t.Errorf("AtLeast forgets a limit: %+v", got)
	}
	if rows := len(job.LimitTable()); rows != fields.NumField() {
		t.Errorf("%d rows for %d fields", rows, fields.NumField())
	}
}

// TestEveryLimitIsChecked: no request gets a number below or beyond the bounds of a limit, nor half
// of what is counted.
func TestEveryLimitIsChecked(t *testing.T) {
	t.Parallel()
	for _, l := range job.LimitTable() {
		for number, bad := range map[float64]bool{-1: true, 1e300: true, math.Inf(1): true, math.NaN(): true, 3e9 + 0.5: true, 0: l.Least() != ""} {
			_, err := limits().Accept(job.Request{Code: "1", Limits: job.QuotaRequest{l.Name: number}}, now)
			if (err != nil) != bad {
				t.Errorf("%s of %v: %v", l.Name, number, err)
			}
		}
		_, err := limits().Accept(job.Request{Code: "1", Limits: job.QuotaRequest{l.Name: 1000.5}}, now)
		if l.Whole() && err == nil {
			t.Errorf("half of %s is counted", l.Name)
		}
	}
}

// TestOwnLimitsOfAnExecution: an execution of a session changes the limits that are its own, and
// no other.
func TestOwnLimitsOfAnExecution(t *testing.T) {
	t.Parallel()
	session, own := job.StandardQuota(), maxQuota()
	want := session
	want.CPUTime, want.OutputBytes, want.ResultBytes = own.CPUTime, own.OutputBytes, own.ResultBytes
	want.Calls, want.CallBytes, want.CallTime, want.CallsAtOnce = own.Calls, own.CallBytes, own.CallTime, own.CallsAtOnce
	if diff := cmp.Diff(want, session.With(own)); diff != "" {
		t.Errorf("with all (-want +got):\n%s", diff)
	}
	if got := session.With(job.Quota{}); got != session {
		t.Errorf("with none: %+v", got)
	}
}
