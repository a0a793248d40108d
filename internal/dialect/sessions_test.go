package dialect_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// libreChat: files go from one execution to the next, no other tenant has them, and code that calls tools runs once.
func libreChat(t *testing.T, k kaa, one, two string) {
	t.Helper()
	one, two = "X-API-Key: "+one, "X-API-Key: "+two
	upload, contentType := form(t, "entity_id||e", "file|in.txt|hello")
	up := k.call(t, http.MethodPost, "/librechat/upload", upload, one, contentType)
	session := up.field("session_id")
	_, rest, _ := strings.Cut(up.raw, `"fileId":"`)
	file, _, _ := strings.Cut(rest, `"`)
	if up.status != http.StatusOK || session == "" || file == "" {
		t.Fatalf("upload: %d %s", up.status, up.raw)
	}
	use := bodyOf(t, fields{
		"lang": "py", "code": "text = open('/mnt/data/in.txt').read()\nopen('/mnt/data/out.txt', 'w').write(text * 2)\nprint(text)",
		"files": []fields{{"id": file, "storage_session_id": session, "name": "in.txt", "kind": "user", "resource_id": file}},
	})
	ran := k.call(t, http.MethodPost, "/librechat/exec", use, one)
	if ran.status != http.StatusOK || ran.field("stdout") != "hello\n" || !strings.Contains(ran.raw, `"name":"out.txt"`) {
		t.Fatalf("exec: %d %s", ran.status, ran.raw)
	}
	_, rest, _ = strings.Cut(ran.raw, `"files":[{"id":"`)
	out, _, _ := strings.Cut(rest, `"`)
	download := "/librechat/download/" + ran.field("session_id") + "/" + out
	k.exchange(t, one, []exchange{
		{"download", http.MethodGet, download, "", 200, []string{"hellohello"}, ""},
		{"list", http.MethodGet, "/librechat/files/" + session + "?detail=full", "", 200, []string{`"original-filename":"in.txt"`, `"id":"` + file}, ""},
		{"no such session", http.MethodGet, "/librechat/files/nope", "", 404, []string{`"message":`}, ""},
		{"no such file", http.MethodGet, "/librechat/download/" + session + "/bm8", "", 404, []string{`"message":`}, ""},
		{"an exception", "", "/librechat/exec", `{"lang": "py", "code": "1/0"}`, 200, []string{"ZeroDivisionError"}, ""},
		{"arguments", "", "/librechat/exec", `{"lang": "bash", "code": "echo $1", "args": ["a"]}`, 200, []string{`"stdout":"a\n"`}, ""},
		{"another language", "", "/librechat/exec", `{"lang": "rs", "code": "1"}`, 400, []string{`Unsupported language`}, ""},
		{"no code", "", "/librechat/exec", `{"lang": "py", "code": ""}`, 400, []string{`code is required`}, ""},
		{"no tools", "", "/librechat/exec/programmatic", `{"code": "1"}`, 400, []string{`tools is required`}, ""},
		{"a wrong token", "", "/librechat/exec/programmatic", `{"continuation_token": "nope", "tool_results": []}`, 400, []string{`continuation_token`}, ""},
		{"no form", "", "/librechat/upload", `{}`, 400, []string{`multipart`}, ""},
		{"a path with two slashes", http.MethodGet, "/librechat//files/" + session, "", 404, []string{`"message":"Not Found"`}, ""},
		{"another route", http.MethodGet, "/librechat/nothing", "", 404, []string{`"message":"Not Found"`}, ""},
	})
	k.attached(t, download, one)
	k.exchange(t, two, []exchange{
		{"another tenant's file", http.MethodGet, download, "", 404, []string{`"message":`}, ""},
		{"another tenant's session", http.MethodGet, "/librechat/files/" + session, "", 404, []string{`"message":`}, ""},
		{"another tenant's input", "", "/librechat/exec", use, 404, []string{`"message":`}, ""},
	})
	tools(t, k, one, two)
}

// tools has code call tools twice, at the same time and later.
func tools(t *testing.T, k kaa, one, two string) {
	t.Helper()
	const path = "/librechat/exec/programmatic"
	code := "import asyncio\nprint('begins')\na, b = await asyncio.gather(get_weather(city='A'), get_weather(city='B'))\nc = await lookup(key=a['t'] + b['t'])\nprint(c)"
	schema := fields{"type": "object", "properties": fields{"city": fields{"type": "string"}}, "required": []string{"city"}}
	a := k.call(t, http.MethodPost, path, bodyOf(t, fields{"code": code, "timeout": 300000, "tools": []fields{
		{"name": "get-weather", "description": "w", "parameters": schema}, {"name": "lookup", "parameters": fields{"type": "object", "properties": fields{"key": fields{}}}},
	}}), one)
	// On a busy machine the second of two calls may come in an answer of its own.
	values := map[string]any{`{"city":"A"}`: fields{"t": 1}, `{"city":"B"}`: fields{"t": 2}, `{"key":3}`: "done"}
	asked := 0
	for round := 0; a.field("status") == "tool_call_required" && round < len(values); round++ {
		var answer struct {
			Calls []struct {
				ID, Name string
				Input    json.RawMessage
			} `json:"tool_calls"`
		}
		if err := json.Unmarshal([]byte(a.raw), &answer); err != nil || len(answer.Calls) == 0 {
			t.Fatalf("no calls: %v %s", err, a.raw)
		}
		var results []fields
		for _, c := range answer.Calls {
			asked++
			value, known := values[string(c.Input)]
			if want := map[bool]string{true: "lookup", false: "get-weather"}[value == "done"]; !known || c.Name != want {
				t.Errorf("a call of %s with %s", c.Name, c.Input)
			}
			results = append(results, fields{"call_id": c.ID, "result": value, "is_error": false})
		}
		next := bodyOf(t, fields{"continuation_token": a.field("continuation_token"), "tool_results": results})
		if b := k.call(t, http.MethodPost, path, next, two); b.status != http.StatusNotFound {
			t.Errorf("another tenant answers: %d %s", b.status, b.raw)
		}
		a = k.call(t, http.MethodPost, path, next, one)
		if again := k.call(t, http.MethodPost, path, next, one); again.status != http.StatusOK || a.field("status") == "completed" && again.raw != a.raw {
			t.Errorf("the same request again: %s\n%s", a.raw, again.raw)
		}
	}
	if asked != len(values) || a.field("status") != "completed" || a.field("stdout") != "begins\ndone\n" {
		t.Errorf("after %d calls: %d %s", asked, a.status, a.raw)
	}
}

// jobe: outcomes of runs, and files that are put before.
func jobe(t *testing.T, k kaa, one, two string) {
	t.Helper()
	one, two = "X-API-KEY: "+one, "X-API-KEY: "+two
	const api = "/jobe/index.php/restapi"
	spec := func(f fields) string { return bodyOf(t, fields{"run_spec": f}) }
	if a := k.call(t, http.MethodHead, api+"/files/abcdefgh1", "", one); a.status != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", a.status)
	}
	if a := k.call(t, http.MethodPut, api+"/files/abcdefgh1", `{"file_contents": "aGk="}`, one); a.status != http.StatusNoContent {
		t.Errorf("put: %d %s", a.status, a.raw)
	}
	if a := k.call(t, http.MethodHead, api+"/files/abcdefgh1", "", one); a.status != http.StatusNoContent {
		t.Errorf("a file that is there: %d", a.status)
	}
	withFile := spec(fields{"language_id": "python3", "sourcecode": "print(open('f.txt').read())", "file_list": [][]any{{"abcdefgh1", "f.txt", true}}})
	k.exchange(t, one, []exchange{
		{"languages", http.MethodGet, api + "/languages", "", 200, []string{`["python3","3.`}, ""},
		{"success", "", api + "/runs", spec(fields{"language_id": "python3", "sourcecode": "print(input())", "input": "in", "parameters": []any{}}), 200, []string{`"outcome":15`, `"stdout":"in\n"`, `"cmpinfo":""`}, ""},
		{"a file", "", "/jobe/jobe/index.php/restapi/runs/", withFile, 200, []string{`"stdout":"hi\n"`}, ""},
		{"a syntax error", "", api + "/runs", spec(fields{"language_id": "python3", "sourcecode": "print("}), 200, []string{`"outcome":11`, `SyntaxError`, `"stderr":""`}, ""},
		{"an exception", "", api + "/runs", spec(fields{"language_id": "python3", "sourcecode": "1/0"}), 200, []string{`"outcome":12`, `ZeroDivisionError`}, ""},
		{"time", "", api + "/runs", spec(fields{"language_id": "python3", "sourcecode": "while True: pass", "parameters": fields{"cputime": 0.2}}), 200, []string{`"outcome":13`}, ""},
		{"another language", "", api + "/runs", spec(fields{"language_id": "c", "sourcecode": "1"}), 400, []string{`"Language 'c' is not known"`}, ""},
		{"no code", "", api + "/runs", spec(fields{"language_id": "python3"}), 400, []string{`sourcecode`}, ""},
		{"no run_spec", "", api + "/runs", `{}`, 400, []string{`run_spec`}, ""},
		{"half a body", "", api + "/runs", `{"run_spec": {`, 400, []string{`ends early`}, ""},
		{"a missing file", "", api + "/runs", spec(fields{"language_id": "python3", "sourcecode": "1", "file_list": [][]any{{"abcdefgh2", "f"}}}), 404, []string{`missing/unavailable`}, ""},
		{"no base64", http.MethodPut, api + "/files/abcdefgh3", `{"file_contents": "!"}`, 400, []string{`base-64`}, ""},
		{"another route", http.MethodGet, "/jobe/nothing", "", 404, []string{`"Not Found"`}, ""},
	})
	k.exchange(t, two, []exchange{{"another tenant's file", "", api + "/runs", withFile, 404, []string{`missing/unavailable`}, ""}})
}

// azure: a session is opened by its identifier, keeps its state and its files, and is each tenant's own.
func azure(t *testing.T, k kaa, one, two string) {
	t.Helper()
	one, two = "Authorization: Bearer "+one, "Authorization: Bearer "+two
	at := func(path string) string {
		return "/azure/" + path + "?identifier=" + url.QueryEscape("chat-1") + "&api-version=2024-02-02-preview"
	}
	properties := func(code string) string {
		return bodyOf(t, fields{"properties": fields{"codeInputType": "inline", "executionType": "synchronous", "code": code}})
	}
	upload, contentType := form(t, "file|in.csv|1,2")
	if a := k.call(t, http.MethodPost, at("files/upload"), upload, one, contentType); a.status != http.StatusOK || !strings.Contains(a.raw, `"filename":"in.csv","size":3`) {
		t.Errorf("upload: %d %s", a.status, a.raw)
	}
	for _, step := range []exchange{
		{"", "", at("code/execute"), properties("x = 41\nprint(open('/mnt/data/in.csv').read())\nx + 1"), 200, []string{`"result":42`, `"stdout":"1,2\n"`, `"status":"Success"`}, ""},
		{"", "", at("code/execute"), properties("x"), 200, []string{`"result":41`}, ""},
		{"", "", at("code/execute"), properties("1/0"), 200, []string{`"status":"Failure"`, `ZeroDivisionError`, `"result":null`}, ""},
		{"", "", at("executions"), `{"code": "'a'", "timeoutInSeconds": 300}`, 200, []string{`"status":"Succeeded"`, `"executionResult":"'a'"`}, ""},
		{"", "", at("code/execute"), properties(" \n"), 200, []string{`"status":"Success"`, `"stdout":""`, `"result":null`}, ""},
		{"", "", at("code/execute"), properties("\nimport pkg_resources\n[d.project_name for d in pkg_resources.working_set]\n"), 200, []string{`"status":"Success"`, `"result":"[`}, ""},
		{"", "", at("executions"), `{"code": ""}`, 200, []string{`"status":"Succeeded"`}, ""},
		{"", "", at("executions"), `{"shellCommand": "cat /mnt/data/in.csv; exit 3"}`, 200, []string{`"status":"3"`, `"stdout":"1,2"`}, ""},
	} {
		if a := k.call(t, http.MethodPost, step.path, step.body, one); a.status != step.status || !containsAll(a.raw, step.has) {
			t.Errorf("%s: %d %s", step.body, a.status, a.raw)
		}
	}
	k.exchange(t, one, []exchange{
		{"list", http.MethodGet, at("files"), "", 200, []string{`"name":"in.csv"`, `"sizeInBytes":3`}, ""},
		{"download", http.MethodGet, at("files/content/in.csv"), "", 200, []string{"1,2"}, ""},
		{"download of later versions", http.MethodGet, at("files/in.csv/content"), "", 200, []string{"1,2"}, ""},
		{"no such file", http.MethodGet, at("files/content/no"), "", 404, []string{`{"error":{"code":"FileNotFound"`}, ""},
		{"no identifier", "", "/azure/code/execute", properties("1"), 400, []string{`"error":{"code":"InvalidRequest"`}, ""},
		{"a wrong identifier", "", "/azure/code/execute?identifier=..%2Fa", properties("1"), 400, []string{`"error":{"code":"InvalidRequest"`}, ""},
		{"no code", "", at("code/execute"), `{}`, 400, []string{`code is required`}, ""},
		{"no command", "", at("executions"), `{"shellCommand": " "}`, 400, []string{`code is required`}, ""},
		{"half a body", "", at("code/execute"), `{"properties"`, 400, []string{`ends early`}, ""},
		{"a path with two slashes", http.MethodGet, at("/files"), "", 404, []string{`"error":{`}, ""},
		{"no name of a file", http.MethodDelete, at("files"), "", 404, []string{`"error":{`}, ""},
		{"another route", http.MethodGet, at("nothing"), "", 404, []string{`"error":{`}, ""},
	})
	k.attached(t, at("files/content/in.csv"), one)
	k.exchange(t, two, []exchange{{"another tenant's session of that name", http.MethodGet, at("files"), "", 200, []string{`"value":[]`}, ""}})
	if a := k.call(t, http.MethodGet, "/v1/sessions/by-name/chat-1", "", two); a.status != http.StatusNotFound {
		t.Errorf("a list opens a session: %d %s", a.status, a.raw)
	}
	k.exchange(t, "Authorization: Bearer three", []exchange{{"a wrong key", http.MethodGet, at("files"), "", 401, []string{`"error":{`}, ""}})
	for range 2 {
		if a := k.call(t, http.MethodDelete, at("session"), "", one); a.status != http.StatusNoContent {
			t.Errorf("delete: %d %s", a.status, a.raw)
		}
	}
}

// attached checks that no browser shows a file: code may have made it a page.
func (k kaa) attached(t *testing.T, path, key string) {
	t.Helper()
	h := k.call(t, http.MethodGet, path, "", key).header
	if !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%s: a browser shows it: %v", path, h)
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
