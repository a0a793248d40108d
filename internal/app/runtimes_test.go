package app_test

import (
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestRuntimesConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		vars app.Environment
		want config.Runtimes
	}{
		{"none given", nil, config.Runtimes{{Name: "python", Python: "python3"}}},
		{
			"python and preload",
			app.Environment{"KAA_PYTHON=/opt/py/bin/python", "KAA_PRELOAD=numpy, os.path"},
			config.Runtimes{{Name: "python", Python: "/opt/py/bin/python", Preload: []string{"numpy", "os.path"}}},
		},
		{
			"runtimes, which win",
			app.Environment{"KAA_RUNTIMES= ds = /opt/ds/bin/python3 : numpy , pandas ; py3.9=python3.9;py_-1=a=b;", "KAA_PYTHON=x", "KAA_PRELOAD=y"},
			config.Runtimes{
				{Name: "ds", Python: "/opt/ds/bin/python3", Preload: []string{"numpy", "pandas"}},
				{Name: "py3.9", Python: "python3.9"},
				{Name: "py_-1", Python: "a=b"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Load(tt.vars)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, cfg.Runtimes); diff != "" {
				t.Errorf("runtimes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRuntimesConfigRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ vars, want string }{
		{"KAA_RUNTIMES=;", "write name=python"},
		{"KAA_RUNTIMES=python3", `"python3" is not a runtime; write name=python`},
		{"KAA_RUNTIMES=a=", "write name=python"},
		{"KAA_RUNTIMES=a=:numpy", "write name=python"},
		{"KAA_RUNTIMES=a=x;;b=x", "write name=python"},
		{"KAA_RUNTIMES==x", `"" is not the name of a runtime`},
		{"KAA_RUNTIMES=A=x", `"A" is not the name of a runtime`},
		{"KAA_RUNTIMES=a b=x", `"a b" is not the name of a runtime`},
		{"KAA_RUNTIMES=" + strings.Repeat("a", 65) + "=x", "up to 64"},
		{"KAA_RUNTIMES=a=x;b=x;a=y", `runtime "a" is named twice`},
		{"KAA_RUNTIMES=a=x:", `runtime "a": "" is not the name of a module`},
		{"KAA_RUNTIMES=a=x:numpy,", `runtime "a": "" is not the name of a module`},
		{"KAA_RUNTIMES=a=x:os;b=x:a-b", `runtime "b": "a-b" is not the name of a module`},
		{"KAA_PRELOAD=os;sys", `KAA_PRELOAD: "os;sys" is not the name of a module`},
		{"KAA_SANDBOX=high", `KAA_SANDBOX is "high"; use strict, basic, none or auto`},
		{"KAA_PARKED=-1", "KAA_PARKED must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.vars, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(app.Environment{tt.vars})
			name, _, _ := strings.Cut(tt.vars, "=")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), name) {
				t.Errorf("err = %v, want %s: …%s…", err, name, tt.want)
			}
		})
	}
}

func TestRunnerDefaults(t *testing.T) {
	t.Parallel()
	most := 4 * runtime.NumCPU()
	tests := []struct {
		vars   app.Environment
		parked int
	}{
		{app.Environment{"KAA_CONCURRENCY=1"}, 1},
		{app.Environment{"KAA_CONCURRENCY=10000"}, most},
		{app.Environment{"KAA_CONCURRENCY=1", "KAA_PARKED=10000"}, 10000},
	}
	for _, tt := range tests {
		cfg, err := config.Load(tt.vars)
		if err != nil || cfg.Parked != tt.parked {
			t.Errorf("%v: %d parked, %v; want %d", tt.vars, cfg.Parked, err, tt.parked)
		}
		want := []string{"LANG", "LC_ALL", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
		if diff := cmp.Diff(want, cfg.PassEnvs); diff != "" || cfg.Sandbox != "strict" {
			t.Errorf("sandbox %q, passed variables (-want +got):\n%s", cfg.Sandbox, diff)
		}
	}
}

// TestRuntimes follows runtimes through a whole Kaa.
func TestRuntimes(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	if a := k.call(http.MethodGet, "/v1/runtimes", nil); a.raw != "{\"runtimes\":[]}\n" {
		t.Errorf("runtimes without a runner: %s", a.raw)
	}
	// With nobody there to say what there is, any name waits.
	early := k.submit(fields{"code": "print(1)", "runtime": "nowhere"})
	delayed := k.submit(fields{"code": "print(1)", "runtime": "nowhere", "delay": 0.2}) // by way of the outbox
	k.environ = k.environ.With("KAA_RUNTIMES", "py="+testenv.SystemPython())
	k.run(app.RunRunner)
	for _, id := range []string{early, delayed} {
		end := k.await(id)
		if end.str("state") != "failed" || end.str("failure.code") != "runtime_missing" || end.str("attempt") != "0" ||
			!strings.Contains(end.str("failure.message"), "nowhere") || end.str("runtime") != "nowhere" {
			t.Errorf("job of a runtime that nobody has: %s", end.raw)
		}
	}

	for _, path := range []string{"/v1/runtimes", "/v1/runners"} {
		a := k.call(http.MethodGet, path, nil)
		if !strings.Contains(a.raw, `"runtimes":[{"name":"py","version":"3.`) || !strings.Contains(a.raw, `"modules":[],"default":true}]`) {
			t.Errorf("%s: %s", path, a.raw)
		}
	}
	for _, path := range []string{executePath, "/v1/jobs"} {
		a := k.call(http.MethodPost, path, fields{"code": "print(1)", "runtime": "nowhere"})
		if a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), `body.runtime: "nowhere" is not a runtime; use one of py`) {
			t.Errorf("%s with an unknown runtime: %d %s", path, a.status, a.raw)
		}
	}
	a := k.execute(fields{"code": "print(1)", "runtime": "py", "limits": fields{"memoryBytes": 64 << 20}})
	if a.str("stdout") != "1\n" || k.call(http.MethodGet, "/v1/jobs/"+a.str("jobId"), nil).str("runtime") != "py" {
		t.Errorf("execution on a known runtime: %s", a.raw)
	}
	if a := k.execute(fields{"code": "print(1)"}); k.call(http.MethodGet, "/v1/jobs/"+a.str("jobId"), nil).str("runtime") != "" {
		t.Error("a job that asked for no runtime shows one")
	}
}
