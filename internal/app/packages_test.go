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
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.5"}, testenv.Wheel{Name: "beta", Version: "1", Requires: []string{"alpha"}})
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
	environment := k.call(http.MethodPost, environmentsPath, fields{"packages": []string{"alpha >= 1"}})
	if environment.status != http.StatusAccepted || environment.str("state") != "building" {
		t.Errorf("an environment of the same packages: %d %s", environment.status, environment.raw)
	}
	if again := k.call(http.MethodPost, environmentsPath, fields{"packages": []string{"ALPHA>=1"}}); again.status != http.StatusOK || again.str("jobId") != environment.str("jobId") {
		t.Errorf("the same environment again: %d %s", again.status, again.raw)
	}
	if waits := k.call(http.MethodGet, "/v1/jobs/"+jobs[0], nil); waits.str("state") != "queued" || waits.str("waitsFor") != "packages" || waits.str("packageSet") == "" || waits.str("runtime") != "" {
		t.Errorf("while its packages are installed: %s", waits.raw)
	}
	seen := k.seesInstallation(jobs[0])
	release()
	seen()
	for _, id := range jobs {
		if a := k.await(id); a.str("result.stdout") != "1.5\n" {
			t.Errorf("job: %s", a.raw)
		}
	}
	if n := strings.Count(k.logs.String(), "packages are installed"); n != 1 {
		t.Errorf("%d installations for %d jobs", n, len(jobs))
	}
	k.environments(environment, secret)
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
	k.addsPackages()
	without := k.call(http.MethodPost, "/v1/sessions", fields{"packages": []string{"no-such-package"}}).str("id")
	if in := k.call(http.MethodPost, executePath, fields{"sessionId": without, "code": "1"}); in.status != http.StatusConflict || in.str("code") != "packages_unresolved" {
		t.Errorf("in a session with a package that does not exist: %d %s", in.status, in.raw)
	}
	if strings.Contains(k.logs.String(), secret) {
		t.Error("the log has the password of the index")
	}
}

// seesInstallation: all who follow an execution that waits for packages see how far they are, in a session, too. The function that it returns sees the end.
func (k *kaa) seesInstallation(jobID string) (end func()) {
	k.tb.Helper()
	session := k.call(http.MethodPost, "/v1/sessions", fields{"packages": []string{"alpha>=1"}}).str("id")
	code := "import alpha; print(alpha.version)"
	streams := map[string]*stream{
		"queued ": k.follow(jobID, ""), "queued": k.executeLive(fields{"code": code, "packages": []string{"alpha>=1"}}), "running": k.executeLive(fields{"code": code, "sessionId": session}),
	}
	for state, s := range streams {
		e := s.await(func(e event) bool { return e.str("waitsFor") != "" })
		installation, _ := e.data["installation"].(map[string]any)
		if e.name != "status" || e.id != "" || e.str("state") != strings.TrimSpace(state) || e.str("waitsFor") != "packages" || installation["step"] != "resolving" && installation["step"] != "waiting" {
			k.tb.Errorf("while packages are installed: %+v", e)
		}
	}
	if waits := k.call(http.MethodGet, "/v1/jobs/"+jobID, nil); waits.str("installation.step") == "" {
		k.tb.Errorf("a job that waits for its packages: %s", waits.raw)
	}
	return func() {
		for state, s := range streams {
			if e := s.await(func(e event) bool { return e.name == "stream" }); e.str("text") != "1.5\n" {
				k.tb.Errorf("%s: after the installation: %+v", state, e)
			}
			s.close()
		}
	}
}

const environmentsPath = "/v1/environments"

// environments: one that is under way becomes ready, with its lock file and log, and one that cannot be had says why.
func (k *kaa) environments(a answer, secret string) {
	k.tb.Helper()
	if j := k.await(a.str("jobId")); j.str("state") != "completed" {
		k.tb.Errorf("the job of an environment: %s", j.raw)
	}
	ready := k.call(http.MethodGet, environmentsPath+"/"+a.str("id"), nil)
	for field, want := range map[string]string{"state": "ready", "packageSet": a.str("id"), "lock": "alpha==1.5 \\\n    --hash=sha256:", "log": "+ alpha==1.5"} {
		if !strings.Contains(ready.str(field), want) {
			k.tb.Errorf("an environment that is ready has the %s %q, want %q", field, ready.str(field), want)
		}
	}
	if strings.Contains(ready.raw, secret) || ready.str("bytes") == "" || ready.str("readyAt") == "" {
		k.tb.Errorf("an environment that is ready: %s", ready.raw)
	}
	failed := k.call(http.MethodPost, environmentsPath, fields{"packages": []string{"no-such-package"}})
	k.await(failed.str("jobId"))
	for range 2 {
		a := k.call(http.MethodGet, environmentsPath+"/"+failed.str("id"), nil)
		if a.str("state") != "failed" || a.str("failure.code") != "packages_unresolved" || !strings.Contains(a.str("failure.message"), "no-such-package was not found") {
			k.tb.Errorf("an environment that cannot be had: %s", a.raw)
		}
	}
	if again := k.call(http.MethodPost, environmentsPath, fields{"packages": []string{"no-such-package"}}); again.status != http.StatusAccepted || again.str("jobId") == failed.str("jobId") {
		k.tb.Errorf("a failed one again: %d %s", again.status, again.raw)
	}
	list := k.call(http.MethodGet, environmentsPath, nil)
	first, second := strings.Index(list.raw, failed.str("id")), strings.Index(list.raw, ready.str("id"))
	if first < 0 || second < first || strings.Contains(list.raw, "sha256") {
		k.tb.Errorf("the list: %s", list.raw)
	}
	for body, says := range map[string]string{`{"packages": []}`: "packages", `{"packages": ["./x"]}`: "path", `{}`: "packages", `{"packages": ["alpha"], "runtime": "none"}`: "runtime"} {
		if bad := k.call(http.MethodPost, environmentsPath, body); bad.status != http.StatusBadRequest || !strings.Contains(bad.str("detail"), says) {
			k.tb.Errorf("%s: %d %s", body, bad.status, bad.raw)
		}
	}
	if none := k.call(http.MethodGet, environmentsPath+"/none", nil); none.status != http.StatusNotFound {
		k.tb.Errorf("one that is not there: %d %s", none.status, none.raw)
	}
}

// othersSeeAdded: contexts, those that were there before, too, and commands find packages that were added to their session.
func (k *kaa) othersSeeAdded(session, early string) {
	k.tb.Helper()
	const look = "import beta, alpha, os, subprocess, sys\nprint(alpha.version, subprocess.run([sys.executable, '-c', 'import alpha; print(alpha.version)'], capture_output=True, text=True).stdout, end='')"
	for _, context := range []string{early, k.context(session, fields{})} {
		if got := k.within(session, context, look); got != "1.5 1.5\n" {
			k.tb.Errorf("in a context: %q", got)
		}
	}
	const command = `python3 -c 'import alpha; print(alpha.version)'; echo "$PYTHONPATH $PATH" | grep -c "/tmp/.packages/[0-9a-f]*[: ].*/tmp/.packages/[0-9a-f]*/bin:"`
	if a := k.execute(fields{"sessionId": session, "command": command}); a.str("stdout") != "1.5\n1\n" {
		k.tb.Errorf("in a command: %s", a.raw)
	}
	if a := k.execute(fields{"sessionId": session, "command": "echo $PYTHONPATH", "envs": fields{"PYTHONPATH": "/mine"}}); a.str("stdout") != "/mine\n" {
		k.tb.Errorf("in a command with a variable of its own: %s", a.raw)
	}
	fork := k.fork(session, 1)[0]
	if a := k.execute(fields{"sessionId": fork, "code": "import beta; print(beta.version)"}); a.str("stdout") != "1\n" && !strings.Contains(a.raw, "poisoned") {
		k.tb.Errorf("in a fork: %s", a.raw)
	}
	// The code of a session can make such directories only for itself.
	made := k.execute(fields{"sessionId": session, "code": "import os\nfor name in ['0' * 32, 'x' * 32, 'a:b']:\n  os.makedirs('/tmp/.packages/' + name)\nos.symlink('/etc', '/tmp/.packages/' + '1' * 32)\nopen('/tmp/.packages/' + '0' * 32 + '/own.py', 'w').close()"})
	a := k.execute(fields{"sessionId": session, "command": "python3 -c 'import own; print(1)'; echo $PYTHONPATH | grep -c -e x -e a:b -e 1111 -e etc"})
	if made.str("status") != "ok" || a.str("stdout") != "1\n0\n" {
		k.tb.Errorf("directories of the code: %s %s", made.raw, a.raw)
	}
}

// addsPackages: a live session gets packages and keeps its variables. Its copy is its own.
func (k *kaa) addsPackages() {
	k.tb.Helper()
	session, other := k.open(fields{}), k.open(fields{})
	in := func(session, code string) answer { return k.execute(fields{"sessionId": session, "code": code}) }
	if a := in(session, "x = 41\ntry:\n  import beta\nexcept ImportError as e:\n  print(e)"); a.str("stdout") != "No module named 'beta'\n" {
		k.tb.Errorf("before: %s", a.raw)
	}
	early := k.context(session, fields{})
	for i, id := range []string{session, session, other} {
		added := k.call(http.MethodPost, "/v1/sessions/"+id+"/packages", fields{"packages": []string{"Beta"}})
		if added.status != http.StatusOK || !strings.HasPrefix(added.str("path"), "/tmp/.packages/") || (added.str("bytes") == "0") != (i == 1) {
			k.tb.Errorf("packages for a session: %d %s", added.status, added.raw)
		}
	}
	after := in(session, `
import beta, alpha, os, subprocess, sys
print(x + 1, beta.version, subprocess.run([sys.executable, "-c", "import alpha; print(alpha.version)"], capture_output=True, text=True).stdout, end="")
open(beta.__file__, "w").write("version = 'poisoned'")
`)
	if after.str("stdout") != "42 1 1.5\n" {
		k.tb.Errorf("after: %s", after.raw)
	}
	k.othersSeeAdded(session, early)
	if a := in(other, "import beta; print(beta.version)"); a.str("stdout") != "1\n" {
		k.tb.Errorf("in another session: %s", a.raw)
	}
	for _, tt := range []struct {
		packages []string
		status   int
		code     string
	}{{[]string{"no-such-package"}, http.StatusConflict, "packages_unresolved"}, {[]string{"-r x"}, http.StatusBadRequest, "invalid_request"}, {[]string{}, http.StatusBadRequest, "invalid_request"}} {
		if bad := k.call(http.MethodPost, "/v1/sessions/"+session+"/packages", fields{"packages": tt.packages}); bad.status != tt.status || bad.str("code") != tt.code {
			k.tb.Errorf("%v: %d %s", tt.packages, bad.status, bad.raw)
		}
	}
	third := k.open(fields{})
	for _, a := range []answer{in(third, "%pip install -q 'Beta'\nimport beta; print(beta.version)"), in(third, "!pip install beta"), k.execute(fields{"code": "!pip install beta\nimport beta\nprint(beta.version)"})} {
		if a.str("status") != "ok" || a.str("stdout") != "1\n" && a.str("stdout") != "" {
			k.tb.Errorf("a line for pip: %s", a.raw)
		}
	}
	if bad := k.call(http.MethodPost, executePath, fields{"sessionId": third, "code": "%pip install no-such-package"}); bad.status != http.StatusConflict || bad.str("code") != "packages_unresolved" {
		k.tb.Errorf("a line for pip with a package that does not exist: %d %s", bad.status, bad.raw)
	}
	if a := in(session, "print(x)"); a.str("stdout") != "41\n" {
		k.tb.Errorf("after packages that cannot be had: %s", a.raw)
	}
}
