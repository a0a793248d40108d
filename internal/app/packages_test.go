package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPackages: many jobs of two tenants wait for one installation, which no place of the runner waits for.
func TestPackages(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.5"})
	const secret = "hunter2-hunter2"
	index.Protect("kaa:" + secret)
	k := start(t, 1, "KAA_PACKAGES=on", "KAA_UV="+testenv.UV(t), "KAA_PACKAGE_INDEX="+strings.Replace(index.URL, "http://", "http://kaa:"+secret+"@", 1))
	missing := k.execute(fields{"code": "import alpha"})
	if hint := missing.str("error.hint"); !strings.Contains(hint, `"packages": ["alpha"]`) {
		t.Errorf("hint: %s", missing.raw)
	}
	release := index.Hold()
	defer release()
	var jobs []string
	for range 6 {
		jobs = append(jobs, k.submit(fields{"code": "import alpha; print(alpha.version)", "packages": []string{"Alpha>=1"}}))
	}
	testenv.Eventually(t, "the index is asked", func() bool { return index.Asked("alpha") > 0 })
	if plain := k.execute(fields{"code": "print(1)"}); plain.str("stdout") != "1\n" {
		t.Errorf("an execution beside them: %s", plain.raw)
	}
	if waits := k.call(http.MethodGet, "/v1/jobs/"+jobs[0], nil); waits.str("state") != "queued" || waits.str("packageSet") == "" || waits.str("runtime") != "" {
		t.Errorf("while its packages are installed: %s", waits.raw)
	}
	release()
	for _, id := range jobs {
		if a := k.await(id); a.str("result.stdout") != "1.5\n" {
			t.Errorf("job: %s", a.raw)
		}
	}
	if n := strings.Count(k.logs.String(), "packages are installed"); n != 1 {
		t.Errorf("%d installations for %d jobs", n, len(jobs))
	}
	again := k.execute(fields{"code": "import alpha, os, subprocess; print(alpha.version, [v for v in os.environ.values() if 'hunter' in v], subprocess.run('cat /proc/*/environ | grep -a -c hunter', shell=True, capture_output=True).stdout)", "packages": []string{"alpha >= 1"}})
	if again.str("stdout") != "1.5 [] b'0\\n'\n" {
		t.Errorf("a set that is installed: %s", again.raw)
	}
	refused := k.call(http.MethodPost, "/process/interpreter/execute", fields{"code": "1", "packages": []string{"no-such-package"}})
	if refused.status != http.StatusConflict || refused.str("code") != "packages_unresolved" || !strings.Contains(refused.str("detail"), "no-such-package was not found") || strings.Contains(refused.raw, secret) {
		t.Errorf("a package that does not exist: %d %s", refused.status, refused.raw)
	}
	session := k.call(http.MethodPost, "/v1/sessions", fields{"packages": []string{"alpha>=1"}}).str("id")
	for range 2 {
		if in := k.execute(fields{"sessionId": session, "code": "import alpha; print(alpha.version)"}); in.str("stdout") != "1.5\n" {
			t.Errorf("in a session: %s", in.raw)
		}
	}
	without := k.call(http.MethodPost, "/v1/sessions", fields{"packages": []string{"no-such-package"}}).str("id")
	if in := k.call(http.MethodPost, executePath, fields{"sessionId": without, "code": "1"}); in.status != http.StatusConflict || in.str("code") != "packages_unresolved" {
		t.Errorf("in a session with a package that does not exist: %d %s", in.status, in.raw)
	}
	if strings.Contains(k.logs.String(), secret) {
		t.Error("the log has the password of the index")
	}
}
