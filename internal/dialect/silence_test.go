package dialect_test

import (
	"net/http"
	"strings"
	"testing"
)

// silence: a stream is silent for longer than its dialect waits before it says that it lives, and goes on.
func silence(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	box := k.call(t, http.MethodPost, "/v2/sandboxes", `{"templateID": "base"}`, "X-API-Key: "+one)
	own := k.call(t, http.MethodPost, "/opensandbox/v1/sandboxes", `{"image": {"uri": "python:3.12"}, "entrypoint": ["/x"], "timeout": 300}`, "OPEN-SANDBOX-API-KEY: "+one)
	proxy := "/opensandbox/proxy/" + own.field("id") + "/44772"
	token := "X-EXECD-ACCESS-TOKEN: " + k.call(t, http.MethodGet, "/opensandbox/v1/sandboxes/"+own.field("id")+"/endpoints/44772", "", "OPEN-SANDBOX-API-KEY: "+one).field("headers.X-EXECD-ACCESS-TOKEN")
	const code = `import time; time.sleep(7); print('after')`
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		alive, end string
	}{
		"e2b": {
			"/execute", `{"code": "` + code + `"}`,
			[]string{"E2b-Sandbox-Id: " + box.field("sandboxID"), "X-Access-Token: " + box.field("envdAccessToken")},
			`"keepalive"`, `"end_of_execution"`,
		},
		"opensandbox":            {proxy + "/code", `{"code": "` + code + `", "context": {"language": "python"}}`, []string{token}, `"ping"`, `"execution_complete"`},
		"opensandbox, a command": {proxy + "/command", `{"command": "sleep 7; echo after"}`, []string{token}, `"ping"`, `"execution_complete"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := k.call(t, http.MethodPost, c.path, c.body, c.headers...)
			if a.status != http.StatusOK || !strings.Contains(a.raw, c.alive) || !strings.Contains(a.raw, "after") || !strings.Contains(a.raw, c.end) {
				t.Errorf("%d %s", a.status, a.raw)
			}
		})
	}
}
