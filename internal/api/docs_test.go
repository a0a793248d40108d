package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// The example on the page can be copied as it is, and the Host of a request puts nothing
// into the page.
func TestDocsAddress(t *testing.T) {
	t.Parallel()
	handler := newAPI(config(new(fakeStore)))
	for _, c := range []struct{ host, proto, want string }{
		{"kaa.example.com", "https", "curl -X POST https://kaa.example.com/process"},
		{"127.0.0.1:9000", "", "curl -X POST http://127.0.0.1:9000/process"},
		{"[::1]:9000", "", "curl -X POST http://[::1]:9000/process"},
		{`x"><script>`, "", "curl -X POST http://127.0.0.1:8080/process"},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/docs", nil)
		req.Host = c.host
		req.Header.Set("X-Forwarded-Proto", c.proto)
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		if !strings.Contains(res.Body.String(), c.want) || strings.Contains(res.Body.String(), "<script") {
			t.Errorf("%s: no %q in the page", c.host, c.want)
		}
	}
}

// The page has every operation, and everything in its frame is filled in.
func TestDocsFilledIn(t *testing.T) {
	t.Parallel()
	page := get(t, config(new(fakeStore)), "/docs").Body.String()
	for _, want := range []string{
		`<span class="method">POST</span> /process/interpreter/execute</code>`, "<td><code>code</code></td>", " (required)</td>", "</body>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if strings.Contains(page, "{{") || strings.Contains(page, "%!") {
		t.Error("something of the page is not filled in")
	}
}

// An output has the fields of its type only, so the description asks for no others.
func TestOutputSchema(t *testing.T) {
	t.Parallel()
	var doc struct {
		Components struct {
			Schemas map[string]struct{ Required []string }
		}
	}
	text := call(t, newAPI(config(new(fakeStore))), http.MethodGet, "/openapi.json", "").Body.Bytes()
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Components.Schemas["Output"].Required; !slices.Equal(got, []string{"type"}) {
		t.Errorf("required are %v", got)
	}
}

// TestTenantHeaderIsDocumented: every operation that needs a key takes the header by which operators act for a
// tenant, and says so.
func TestTenantHeaderIsDocumented(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
			Responses  map[string]any
		}
	}
	if err := json.Unmarshal(call(t, newAPI(config(new(fakeStore))), http.MethodGet, "/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	with := 0
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			has := slices.ContainsFunc(operation.Parameters, func(p struct{ Name, In string }) bool { return p.Name == "Kaa-Tenant" && p.In == "header" })
			if needs := operation.Responses["401"] != nil; has != needs {
				t.Errorf("%s %s: needs a key %v, takes the header %v", method, path, needs, has)
			}
			if has {
				with++
			}
		}
	}
	if with < 20 {
		t.Errorf("only %d operations take it", with)
	}
}

// A parameter that is bounded can be wrong, so its operation documents 400.
func TestBoundedParametersAreRefused(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name   string
				Schema map[string]any
			}
			Responses map[string]any
		}
	}
	text := call(t, newAPI(config(new(fakeStore))), http.MethodGet, "/openapi.json", "").Body.Bytes()
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			for _, p := range operation.Parameters {
				if p.Schema["type"] == "string" && p.Schema["maxLength"] == nil && p.Schema["enum"] == nil && p.Schema["pattern"] == nil {
					continue
				}
				checked++
				if operation.Responses["400"] == nil {
					t.Errorf("%s %s: %s may be refused, and 400 is not documented", method, path, p.Name)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d parameters are bounded", checked)
	}
}
