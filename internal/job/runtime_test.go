package job_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func TestAcceptRuntime(t *testing.T) {
	t.Parallel()
	known := []string{"py39", "py313"}
	tests := []struct {
		name  string
		asked string
		known []string
		says  string // empty if it is accepted
	}{
		{"none", "", known, ""},
		{"known", "py313", known, ""},
		{"unknown", "py27", known, `"py27" is not a runtime; use one of py39, py313`},
		{"unknown and no name", "PY 3", known, "use one of py39, py313"},
		{"no runner says what there is", "py27", nil, ""},
		{"no name", "PY:3", nil, "is not the name of a runtime"},
		{"a long name", strings.Repeat("x", 65), nil, "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := limits()
			l.Runtimes = tt.known
			n, err := l.Accept(job.Request{Code: "1", Runtime: tt.asked}, now)
			j, spec := n.Job, n.Spec
			if tt.says == "" {
				if err != nil || j.Runtime != tt.asked || spec.Runtime != tt.asked {
					t.Errorf("runtime = %q, %q, err %v", j.Runtime, spec.Runtime, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), "runtime: ") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("err = %v, want runtime: …%s…", err, tt.says)
			}
		})
	}
}

func TestRuntimes(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration, runtimes ...job.Runtime) job.Runner {
		return job.Runner{StartedAt: now.Add(d), Runtimes: runtimes}
	}
	tests := []struct {
		name    string
		runners []job.Runner
		want    []job.Runtime
	}{
		{"nobody", nil, nil},
		{"a runner that says nothing", []job.Runner{at(0)}, nil},
		{
			"what any offers, by name",
			[]job.Runner{at(0, job.Runtime{Name: "b", Default: true}), at(0, job.Runtime{Name: "c"}, job.Runtime{Name: "a", Modules: []string{"numpy"}})},
			[]job.Runtime{
				{Name: "a", Modules: []string{"numpy"}}, {Name: "b", Modules: []string{}, Default: true}, {Name: "c", Modules: []string{}},
			},
		},
		{
			"the latest counts",
			[]job.Runner{at(time.Second, job.Runtime{Name: "a", Version: "new"}), at(0, job.Runtime{Name: "a", Version: "old"})},
			[]job.Runtime{{Name: "a", Version: "new", Modules: []string{}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, job.Runtimes(tt.runners)); diff != "" {
				t.Errorf("runtimes (-want +got):\n%s", diff)
			}
		})
	}
}
