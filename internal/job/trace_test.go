package job_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

func TestValidRequestID(t *testing.T) {
	t.Parallel()
	for id, valid := range map[string]bool{
		"a": true, "01a225ab-5e0a-744b-98c1-f26190b44f95": true, "Root=1-67891233-abcdef012345678912345678": true, "a/b+c=:@~_.": true,
		strings.Repeat("x", 128): true,
		"":                       false, " ": false, "a b": false, "a\n": false, "a\x00": false, "a\"": false, "{}": false, "<a>": false, "é": false, "\x7f": false, "a,b": false,
		strings.Repeat("x", 129): false,
	} {
		if job.ValidRequestID(id) != valid {
			t.Errorf("%q: want %v", id, valid)
		}
	}
}

func TestTracestate(t *testing.T) {
	t.Parallel()
	members := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("a%d=b", i)
		}
		return strings.Join(all, ",")
	}
	long := "a=" + strings.Repeat("x", 256) + ",b=" + strings.Repeat("x", 251) // 512 bytes
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{" , "}, ""},
		{[]string{"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		{[]string{"a=1", "b=2"}, "a=1,b=2"},
		{[]string{"a=1 ,\t1t@sys-1=x y,,"}, "a=1 ,\t1t@sys-1=x y,,"},
		{[]string{members(32)}, members(32)},
		{[]string{members(33)}, ""},
		{[]string{long}, long},
		{[]string{long + ","}, ""},
		{[]string{"a=" + strings.Repeat("x", 257)}, ""},
		{[]string{"a"}, ""},
		{[]string{"a="}, ""},
		{[]string{"=b"}, ""},
		{[]string{"a=b=c"}, ""},
		{[]string{"a=1,a=2"}, ""},
		{[]string{"A=1"}, ""},
		{[]string{"1a=1"}, ""},
		{[]string{"a@1=1"}, ""},
		{[]string{"a@=1"}, ""},
		{[]string{"a=é"}, ""},
		{[]string{"a=\x00"}, ""},
		{[]string{"a=1\r\nX: y"}, ""},
	} {
		if got := job.Tracestate(tt.values); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.values, got, tt.want)
		}
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for parent, valid := range map[string]bool{
		good: true, strings.ToUpper(good): false, "": false, good + "0": false, good[:54]: false,
		"01" + good[2:]: false, "ff" + good[2:]: false, strings.ReplaceAll(good, "-", "_"): false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01": false,
	} {
		if job.ValidTraceparent(parent) != valid {
			t.Errorf("%q: want %v", parent, valid)
		}
	}
	if id := (job.Trace{Parent: good}).TraceID(); id != good[3:35] {
		t.Errorf("the trace is %q", id)
	}
	if id := (job.Trace{Parent: "00-4bf9"}).TraceID(); id != "" {
		t.Errorf("half a parent has the trace %q", id)
	}
	if got := job.TraceOf(job.WithTrace(t.Context(), job.Trace{RequestID: "r"})); got.RequestID != "r" || job.TraceOf(t.Context()) != (job.Trace{}) {
		t.Errorf("the context has %v", got)
	}
}
