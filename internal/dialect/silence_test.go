package dialect_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// silence: a stream is silent until its dialect says that it lives, and goes on.
func silence(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	box := k.call(t, http.MethodPost, "/v2/sandboxes", `{"templateID": "base"}`, "X-API-Key: "+one)
	own := k.call(t, http.MethodPost, "/opensandbox/v1/sandboxes", `{"image": {"uri": "python:3.12"}, "entrypoint": ["/x"], "timeout": 300}`, "OPEN-SANDBOX-API-KEY: "+one)
	proxy := "/opensandbox/proxy/" + own.field("id") + "/44772"
	token := "X-EXECD-ACCESS-TOKEN: " + k.call(t, http.MethodGet, "/opensandbox/v1/sandboxes/"+own.field("id")+"/endpoints/44772", "", "OPEN-SANDBOX-API-KEY: "+one).field("headers.X-EXECD-ACCESS-TOKEN")
	code := func(file string) string {
		return `import os, time\nwhile not os.path.exists('/tmp/` + file + `'): time.sleep(0.01)\nprint('after')`
	}
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		alive, end string
		goOn       func(t *testing.T) answer
	}{
		"e2b": {
			"/execute", `{"code": "` + code("go") + `"}`,
			[]string{"E2b-Sandbox-Id: " + box.field("sandboxID"), "X-Access-Token: " + box.field("envdAccessToken")},
			`"keepalive"`, `"end_of_execution"`,
			func(t *testing.T) answer {
				t.Helper()
				return k.call(t, http.MethodPost, "/files?path=/tmp/go", "x", "E2b-Sandbox-Id: "+box.field("sandboxID"), "X-Access-Token: "+box.field("envdAccessToken"), "Content-Type: application/octet-stream")
			},
		},
		"opensandbox": {
			proxy + "/code", `{"code": "` + code("go-code") + `", "context": {"language": "python"}}`,
			[]string{token},
			`"ping"`, `"execution_complete"`,
			func(t *testing.T) answer {
				t.Helper()
				return k.call(t, http.MethodPost, proxy+"/command", `{"command": "touch /tmp/go-code"}`, token)
			},
		},
		"opensandbox, a command": {
			proxy + "/command", `{"command": "while [ ! -e /tmp/go-command ]; do sleep 0.01; done; echo after"}`,
			[]string{token},
			`"ping"`, `"execution_complete"`,
			func(t *testing.T) answer {
				t.Helper()
				return k.call(t, http.MethodPost, proxy+"/command", `{"command": "touch /tmp/go-command"}`, token)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := k.send(t, http.MethodPost, c.path, c.body, c.headers...)
			defer func() { _ = res.Body.Close() }()
			var raw strings.Builder
			for b := bufio.NewReader(res.Body); ; {
				line, err := b.ReadString('\n')
				raw.WriteString(line)
				if err != nil {
					break
				}
				if strings.Contains(line, c.alive) {
					if a := c.goOn(t); a.status != http.StatusOK {
						t.Fatalf("%d %s", a.status, a.raw)
					}
				}
			}
			if got := raw.String(); res.StatusCode != http.StatusOK || !strings.Contains(got, "after") || !strings.Contains(got, c.end) {
				t.Errorf("%d %s", res.StatusCode, got)
			}
		})
	}
}
