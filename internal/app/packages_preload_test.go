package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPreload: a request names modules that an interpreter imports ahead. What they do there harms no execution.
func TestPreload(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.5"}, testenv.Wheel{Name: "odd", Version: "1", Files: map[string]string{
		"fails.py": "1/0", "ends.py": "import os; os._exit(3)", "large.py": "data = b'x' * (400 << 20)",
		"writes.py": "import os, sys\nprint('noise')\nopen('/work/left', 'w').write('x')\nos.environ['LEFT'] = 'x'",
	}})
	k := start(t, 1, "KAA_PACKAGES=on", "KAA_UV="+testenv.UV(t), "KAA_PACKAGE_INDEX="+index.URL)
	const look = "import sys; print('alpha' in sys.modules)\nimport alpha; assert alpha.version == '1.5'"
	ahead := func(body fields) string {
		a := k.execute(body)
		if a.str("status") != "ok" {
			t.Errorf("%v: %s", body, a.raw)
		}
		return a.str("stdout")
	}
	named := fields{"code": look, "packages": []string{"alpha"}, "preload": []string{"alpha"}}
	imports := k.importsAhead()
	testenv.Eventually(t, "the module is imported ahead", func() bool { return ahead(named) == imports })
	if out := ahead(fields{"code": look, "packages": []string{"alpha"}}); out != "False\n" {
		t.Errorf("without a list: %q", out)
	}
	testenv.Eventually(t, "a session has it, too", func() bool {
		id := k.open(fields{"packages": []string{"alpha"}, "preload": []string{"alpha"}})
		defer k.call(http.MethodDelete, sessionsPath+"/"+id, nil)
		return ahead(fields{"code": look, "sessionId": id}) == imports
	})
	k.preparesImports()
	job := k.submit(named)
	if shown := k.await(job); shown.str("packageSet") == "" || shown.str("runtime") != "" || shown.str("result.status") != "ok" {
		t.Errorf("a job: %s", shown.raw)
	}
	if again := k.call(http.MethodPost, "/v1/jobs/"+job+"/rerun", nil); again.status != http.StatusAccepted || k.await(again.str("id")).str("result.status") != "ok" {
		t.Errorf("a job that runs again: %d %s", again.status, again.raw)
	}
	for _, module := range []string{"fails", "ends", "large", "no_such_module", "writes"} {
		for range 3 {
			a := k.execute(fields{"code": "import os; print(1, os.environ.get('FOO'))", "packages": []string{"odd"}, "preload": []string{module}, "envs": fields{"FOO": "bar"}})
			if a.str("stdout") != "1 bar\n" || a.str("status") != "ok" || a.str("stderr") != "" {
				t.Errorf("with %s: %s", module, a.raw)
			}
		}
	}
	for _, body := range []fields{
		{"code": "1", "preload": []string{"alpha"}}, {"code": "1", "packages": []string{"alpha"}, "preload": []string{"os; print()"}}, {"code": "1", "packages": []string{"alpha"}, "preload": "alpha"},
	} {
		if bad := k.call(http.MethodPost, executePath, body); bad.status != http.StatusBadRequest {
			t.Errorf("%v: %d %s", body, bad.status, bad.raw)
		}
	}
}

// importsAhead is what a program says of a module that may be imported ahead: without control groups none is.
func (k *kaa) importsAhead() string {
	k.tb.Helper()
	if runners := k.call(http.MethodGet, "/v1/runners", nil).raw; !strings.Contains(runners, `"memoryControl":"cgroup`) {
		return "False\n"
	}
	return "True\n"
}

// preparesImports: an environment has modules imported ahead. It is the same one without them, and is prepared anew with others.
func (k *kaa) preparesImports() {
	k.tb.Helper()
	prepare := func(status int, body fields) answer {
		k.tb.Helper()
		a := k.call(http.MethodPost, environmentsPath, body)
		if a.status != status {
			k.tb.Errorf("%v: %d %s", body, a.status, a.raw)
		}
		return a
	}
	plain := prepare(http.StatusAccepted, fields{"packages": []string{"alpha"}})
	k.await(plain.str("jobId"))
	first := prepare(http.StatusAccepted, fields{"packages": []string{"alpha"}, "preload": []string{"alpha", "json"}})
	if request := k.call(http.MethodGet, "/v1/jobs/"+first.str("jobId")+"/request", nil); request.str("preload") != "[alpha json]" || first.str("preload") != "[alpha json]" || first.str("id") != plain.str("id") {
		k.tb.Errorf("the request of the job: %s\nof %s", request.raw, first.raw)
	}
	k.await(first.str("jobId"))
	for _, body := range []fields{{"packages": []string{"alpha"}, "preload": []string{"alpha", "json"}}, {"packages": []string{"alpha"}}} {
		if again := prepare(http.StatusOK, body); again.str("state") != "ready" || again.str("jobId") != first.str("jobId") {
			k.tb.Errorf("%v again: %s", body, again.raw)
		}
	}
	prepare(http.StatusBadRequest, fields{"packages": []string{"alpha"}, "preload": []string{"al pha"}})
}
