package dialect_test

import (
	"net/http"
	"strings"
	"testing"
)

// manyValues: no dialect decodes JSON that is small as text and large as values. 16 MB of empty objects took 1.3 GB.
func manyValues(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	box := k.call(t, http.MethodPost, "/v2/sandboxes", `{"templateID": "base"}`, "X-API-Key: "+one)
	token := []string{"E2b-Sandbox-Id: " + box.field("sandboxID"), "X-Access-Token: " + box.field("envdAccessToken")}
	own := k.call(t, http.MethodPost, "/daytona/api/sandbox", `{}`, "X-API-Key: "+one)
	toolbox := "/daytona/toolbox/" + own.field("id")
	kernel := k.call(t, http.MethodPost, "/jupyter/api/kernels", `{}`, "Authorization: token "+one)
	many := `{"x": [` + strings.Repeat("1,", 9000) + `1]}`
	for path, headers := range map[string][]string{
		"/v1/jobs": {}, "/v1/sessions": {}, "/v1/schedules": {}, "/v1/environments": {},
		"/v2/sandboxes": {}, "/sandboxes": {}, "/sandboxes/" + box.field("sandboxID") + "/timeout": {}, "/execute": token, "/contexts": token,
		"/filesystem.Filesystem/ListDir": token, "/filesystem.Filesystem/Stat": token, "/process.Process/SendInput": token,
		"/daytona/api/sandbox": {}, toolbox + "/process/execute": {}, toolbox + "/process/session": {}, toolbox + "/git/clone": {},
		"/opensandbox/v1/sandboxes": {"OPEN-SANDBOX-API-KEY: " + one},
		"/jupyter/api/kernels":      {"Authorization: token " + one}, "/jupyter/api/sessions": {"Authorization: token " + one},
		"/jupyter/api/contents/" + kernel.field("id"): {"Authorization: token " + one},
		"/piston/api/v2/execute":                      {}, "/jobe/jobe/index.php/restapi/runs": {}, "/dify/v1/sandbox/run": {}, "/azure/code/execute": {}, "/azure/executions": {},
		"/sandboxfusion/run_code": {}, "/sandboxfusion/run_jupyter": {}, "/librechat/exec": {},
		"/mcp": {"Authorization: Bearer " + one, "Accept: application/json, text/event-stream"},
	} {
		if len(headers) == 0 {
			headers = []string{"X-API-Key: " + one}
		}
		got := k.call(t, http.MethodPost, path, many, headers...)
		if got.status < 400 || got.status > 422 || !strings.Contains(got.raw, "the JSON has more than 8") {
			t.Errorf("%s: %d %.300s", path, got.status, got.raw)
		}
	}
	// Where the parts of a body stay text, those do not count.
	deep := `{"code": "1", "tools": [{"name": "a", "parameters": {"x": [` + strings.Repeat("1,", 9000) + `1]}}]}`
	flat := `{"code": "1", "tools": [` + strings.Repeat(`1,`, 9000) + `1]}`
	for body, refused := range map[string]bool{deep: false, flat: true} {
		got := k.call(t, http.MethodPost, "/librechat/exec/programmatic", body, "X-API-Key: "+one)
		if strings.Contains(got.raw, "the JSON has more than 8") != refused {
			t.Errorf("refused %t: %d %.300s", refused, got.status, got.raw)
		}
	}
}
