package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestHints(t *testing.T) {
	t.Parallel()
	const execute, jobs, batch, sessions = "/process/interpreter/execute", "/v1/jobs", "/v1/jobs:batch", "/v1/sessions"
	handler := newAPI(bigConfig())
	for name, c := range map[string]struct{ path, body, want string }{
		"letters swapped":  {execute, `{"code": "1", "tiemout": 3}`, `body.tiemout: unknown field; did you mean timeout?`},
		"other case":       {jobs, `{"code": "1", "resultTTL": 3}`, `body.resultTTL: unknown field; did you mean resultTtl?`},
		"nested":           {execute, `{"code": "1", "limits": {"memoryByte": 1}}`, `body.limits.memoryByte: unknown field; did you mean memoryBytes?`},
		"in a list":        {execute, `{"code": "1", "files": [{"pth": "a", "path": "b"}]}`, `body.files[0].pth: unknown field; did you mean path?`},
		"not near":         {sessions, `{"colour": "red"}`, `body.colour: unknown field; known are autoResume, endsAt, endsIn, envs, home, idleTimeout, limits, maxAge, metadata, network, onCrash, onEnd, onMemoryLimit, packages, persist, preload, runtime, workdir`},
		"in a batch":       {batch, `{"jobs": [{"code": "1", "tiemout": 3}]}`, `body.tiemout: unknown field; did you mean timeout?`},
		"a dot in it":      {execute, `{"code": "1", "a.b": 1}`, `body.a.b: unexpected property`},
		"long":             {sessions, `{"` + strings.Repeat("x", 100_000) + `": 1}`, `known are autoResume, endsAt, endsIn, envs, home, idleTimeout`},
		"not JSON":         {execute, "{\"code\": \"é\",\n \"x\":}", `body: not JSON: invalid character '}' looking for beginning of value, at line 2, column 6`},
		"not JSON, batch":  {batch, "{\"jobs\": [}", `not JSON: invalid character '}' looking for beginning of value, at line 1, column 11`},
		"JSON that ends":   {execute, `{"code": "1"`, `body: not JSON: unexpected end of JSON input, at line 1, column 12`},
		"no hint for type": {execute, `{"code": 1}`, `body.code: expected string`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := send(t, handler, c.path, c.body)
			if res.Code != http.StatusBadRequest && c.path != batch || !strings.Contains(res.Body.String(), jsonOf(t, c.want)) {
				t.Errorf("%d %s, want a problem with %q", res.Code, res.Body, c.want)
			}
		})
	}
}

// bigConfig has room for bodies that are long on purpose.
func bigConfig() parts {
	cfg := config(new(fakeStore))
	cfg.MaxBodyBytes = 1 << 20
	return cfg
}

// jsonOf returns text as it stands within a JSON string.
func jsonOf(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		t.Fatal(err)
	}
	return strings.Trim(strings.TrimSpace(b.String()), `"`)
}

// Hints are looked up for a few mistakes only, so that a request full of them costs little.
func TestHintsAreBounded(t *testing.T) {
	t.Parallel()
	body := map[string]any{"code": "1"}
	for i := range 50 {
		body["unlike_any_"+strings.Repeat("x", i)] = 1 // so that none gets another hint
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res := send(t, newAPI(bigConfig()), "/v1/jobs", string(text))
	if n := strings.Count(res.Body.String(), "known are"); n != 2*10 { // in detail and in errors
		t.Errorf("%d hints", n)
	}
}

// A key that a call does not know would be a promise that the call does not keep.
func TestIdempotencyKeyRefused(t *testing.T) {
	t.Parallel()
	handler := newAPI(bigConfig())
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(call(t, handler, http.MethodGet, "/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if method == "get" || op.OperationID == "submitJob" || op.OperationID == "submitBatch" || op.OperationID == "rerunBatch" || op.OperationID == "rerunJob" {
				continue
			}
			tried++
			path := strings.NewReplacer("{id}", "0198c0de-0000-7000-8000-000000000000", "{path}", "a.txt").Replace(path)
			res := call(t, handler, strings.ToUpper(method), path, `{}`, "Idempotency-Key", "k")
			if res.Code != http.StatusBadRequest || !strings.Contains(res.Body.String(), "header.Idempotency-Key") {
				t.Errorf("%s %s: %d %s", method, path, res.Code, res.Body)
			}
		}
	}
	if tried < 10 {
		t.Errorf("%d operations tried", tried)
	}
}

// Generators of clients leave out an operation with a header that is a list.
func TestHeadersAreStrings(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   struct{ Type any }
			}
		}
	}
	if err := json.Unmarshal(call(t, newAPI(bigConfig()), http.MethodGet, "/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	found := false
	for path, operations := range doc.Paths {
		for method, op := range operations {
			for _, p := range op.Parameters {
				found = found || p.Name == "Prefer"
				if p.In == "header" && p.Schema.Type != "string" {
					t.Errorf("%s %s: header %s has type %v", method, path, p.Name, p.Schema.Type)
				}
			}
		}
	}
	if !found {
		t.Error("Prefer is not documented")
	}
}
