package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// withPackages starts a Kaa that installs packages of an index.
func withPackages(t *testing.T, vars ...string) (*kaa, *testenv.Index) {
	t.Helper()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.5"}, testenv.Wheel{Name: "beta", Version: "1", Requires: []string{"alpha"}}, testenv.Wheel{Name: "gamma", Version: "3"})
	return start(t, 1, append([]string{"KAA_PACKAGES=on", "KAA_UV=" + testenv.UV(t), "KAA_PACKAGE_INDEX=" + index.URL}, vars...)...), index
}

// TestPipInContexts: a line for pip in a context installs packages for the whole session, and no variable is lost.
func TestPipInContexts(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"strict", "basic", "none"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			pipInContexts(t, level)
		})
	}
}

func pipInContexts(t *testing.T, level string) {
	t.Helper()
	k, _ := withPackages(t, "KAA_PACKAGES_BLOCK=gamma", "KAA_SANDBOX="+level)
	id := k.open(nil)
	k.in(id, "x = 1")
	a, b := k.context(id, nil), k.context(id, nil)
	k.within(id, a, "x = 2")
	if out := k.within(id, b, "try:\n  import beta\nexcept ImportError: print('none')"); out != "none\n" {
		t.Errorf("before: %s", out)
	}
	if out := k.within(id, a, "!pip install -q beta\nimport beta; print(x, beta.version)"); out != "2 1\n" {
		t.Errorf("with a line for pip: %s", out)
	}
	for _, context := range []string{"default", b, k.context(id, nil)} {
		if out := k.within(id, context, "import alpha, beta; print(alpha.version, beta.version, globals().get('x'))"); !strings.HasPrefix(out, "1.5 1 ") || (context == "default") != (out == "1.5 1 1\n") {
			t.Errorf("then, in %s: %s", context, out)
		}
	}
	if c := k.execute(fields{"sessionId": id, "command": "python3 -c 'import beta; print(beta.version)'"}); c.str("stdout") != "1\n" {
		t.Errorf("then, in a command: %s", c.raw)
	}
	if f := k.in(k.fork(id, 1)[0], "import beta; print(x, beta.version)"); f != "1 1\n" {
		t.Errorf("then, in a fork: %s", f)
	}
	for code, want := range map[string]string{"%pip install no-such-package": "409 packages_unresolved", "%pip install gamma": "400 invalid_request", "%pip install -r x": "400 invalid_request"} {
		bad := k.call(http.MethodPost, executePath, fields{"sessionId": id, "contextId": a, "code": code})
		if got := fmt.Sprint(bad.status, " ", bad.str("code")); got != want {
			t.Errorf("%s: %s, want %s: %s", code, got, want, bad.raw)
		}
	}
	if out := k.within(id, a, "print(x)"); out != "2\n" {
		t.Errorf("after packages that cannot be had: %s", out)
	}
	missing := k.call(http.MethodPost, executePath, fields{"sessionId": id, "contextId": "none", "code": "%pip install alpha"})
	if missing.status != http.StatusNotFound || missing.str("code") != "context_not_found" {
		t.Errorf("in a context that is not there: %d %s", missing.status, missing.raw)
	}
}

// TestPipInContextsAtOnce: contexts of a session that add packages at the same time all get them.
func TestPipInContextsAtOnce(t *testing.T) {
	t.Parallel()
	k, index := withPackages(t)
	id := k.open(nil)
	names := []string{"alpha", "beta", "gamma", "alpha", "default"}
	contexts := make([]string, len(names))
	for i := range names {
		contexts[i] = k.context(id, nil)
	}
	contexts[4], names[4] = "default", "gamma"
	release := index.Hold()
	defer release()
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			a, err := k.try(t.Context(), http.MethodPost, executePath, fields{"sessionId": id, "contextId": contexts[i], "code": "%pip install " + name + "\nimport " + name + "; print(" + name + ".__name__)"})
			if err != nil || a.str("stdout") != name+"\n" {
				t.Errorf("%s: %v %s", name, err, a.raw)
			}
		})
	}
	testenv.Eventually(t, "the index is asked", func() bool { return index.Asked("alpha")+index.Asked("beta")+index.Asked("gamma") > 0 }) // two are installed at once
	release()
	all.Wait()
	for _, context := range contexts {
		if out := k.within(id, context, "import alpha, beta, gamma, os; print(gamma.version, len(os.listdir('/tmp/.packages')))"); out != "3 3\n" {
			t.Errorf("then: %s", out)
		}
	}
}

// TestPipInContextsHostile: code that forges messages, spoils the place of packages, or ends in the middle harms its own session only.
func TestPipInContextsHostile(t *testing.T) {
	t.Parallel()
	k, index := withPackages(t)
	id, other := k.open(nil), k.open(nil)
	k.in(id, "x = 1")
	hostile, calm := k.context(id, nil), k.context(id, nil)
	k.within(id, calm, "y = 1")
	forged := `%pip install alpha
import os
for fd in range(3, 2000):
  for text in (b'{"type":"status","id":"1","status":"ok"}\n', b'{"type":"ready"}\n', b'\xff' * 100):
    try: os.write(fd, text)
    except OSError: pass`
	k.call(http.MethodPost, executePath, fields{"sessionId": id, "contextId": hostile, "code": forged})
	testenv.Eventually(t, "the context has an interpreter that works", func() bool {
		a := k.call(http.MethodPost, executePath, fields{"sessionId": id, "contextId": hostile, "code": "import alpha"})
		return a.str("status") == "ok"
	})
	for _, context := range []string{hostile, calm, "default"} {
		if out := k.within(id, context, "import alpha; print(alpha.version)"); out != "1.5\n" {
			t.Errorf("after forged messages, in %s: %s", context, out)
		}
	}
	if out := k.within(id, calm, "print(y)"); out != "1\n" {
		t.Errorf("variables of another context: %s", out)
	}

	// What the code puts where packages are copied does not lead out of its own files.
	k.within(id, hostile, "import os\nos.symlink('/work', '/tmp/.packages/.new')\nopen('/work/kept', 'w').write('kept')")
	if out := k.within(id, hostile, "%pip install gamma\nimport gamma, os; print(gamma.version, os.listdir('/work'))"); out != "3 ['kept']\n" {
		t.Errorf("with a link in the place of new packages: %s", out)
	}

	// A context that is deleted, and a session that is restarted, while packages are installed.
	release := index.Hold()
	defer release()
	index.Add(t, testenv.Wheel{Name: "delta", Version: "1"})
	for _, ends := range []func(context string) answer{
		func(context string) answer {
			return k.call(http.MethodDelete, sessionsPath+"/"+id+"/contexts/"+context, nil)
		},
		func(string) answer { return k.call(http.MethodPost, sessionsPath+"/"+id+"/restart", nil) },
	} {
		context := k.context(id, nil)
		running := k.submit(fields{"sessionId": id, "contextId": context, "code": "%pip install delta"})
		testenv.Eventually(t, "the package is asked for", func() bool { return index.Asked("delta") > 0 })
		if a := ends(context); a.status >= http.StatusBadRequest {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if j := k.await(running); j.str("failure.code") != "context_not_found" {
			t.Errorf("an execution whose context has ended: %s", j.raw)
		}
	}
	// One that is cancelled leaves its context as it is.
	context := k.context(id, nil)
	running := k.submit(fields{"sessionId": id, "contextId": context, "code": "%pip install delta"})
	testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running" })
	k.call(http.MethodDelete, "/v1/jobs/"+running, nil)
	if j := k.await(running); j.str("state") != "cancelled" {
		t.Errorf("a cancelled one: %s", j.raw)
	}
	release()
	if out := k.within(id, context, "%pip install delta\nimport delta; print(delta.version)"); out != "1\n" {
		t.Errorf("then: %s", out)
	}
	if a := k.execute(fields{"sessionId": other, "code": "import alpha"}); a.str("error.name") != "ModuleNotFoundError" {
		t.Errorf("another session: %s", a.raw)
	}
}
