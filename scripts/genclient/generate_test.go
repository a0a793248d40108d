package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestCurrent: client/generated.go is what the generator makes of docs/openapi.json.
func TestCurrent(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../client/generated.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("client/generated.go is not that of docs/openapi.json: make openapi writes it")
	}
}

// TestGenerate: what a schema and an operation become.
func TestGenerate(t *testing.T) {
	t.Parallel()
	code, err := generate([]byte(`{
		"paths": {
			"/v1/things/{id}/files/{path}": {"get": {"operationId": "getFile", "summary": "A file.", "parameters": [
				{"in": "path", "name": "id"}, {"in": "query", "name": "depth", "schema": {"type": "integer"}}],
				"responses": {"200": {"content": {"*/*": {"schema": {"type": "string"}}}}}}},
			"/v1/things": {"post": {"operationId": "makeThing", "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
				"responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}}}},
			"/v1/things/{id}/ws": {"get": {"operationId": "connect", "responses": {}}}
		},
		"components": {"schemas": {"Thing": {"type": "object", "required": ["id"], "properties": {
			"id": {"type": "string"}, "code": {"type": "integer"}, "note": {"type": ["string", "null"]}, "at": {"type": "string", "format": "date-time"},
			"any": {}, "map": {"type": "object", "additionalProperties": {"type": "string"}}, "in": {"type": "object", "properties": {"a": {"type": "boolean"}}}
		}}}}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Join(strings.Fields(string(code)), " ")
	for _, want := range []string{
		"ID string `json:\"id\"`", "Code *int64 `json:\"code,omitempty\"`", "Note *string `json", "At *time.Time", "Any json.RawMessage", "Map map[string]string", "In *ThingIn ",
		"type ThingIn struct { A bool `json:\"a,omitempty\"` }",
		`func (c *Client) GetFile(ctx context.Context, id string, path string, params GetFileParams, options ...Option) (*http.Response, error) { return c.open(ctx, "GET", "/v1/things/"+url.PathEscape(id)+"/files/"+escapePath(path), params.query(), nil, options) }`,
		`func (c *Client) MakeThing(ctx context.Context, body Thing, options ...Option) (answer Thing, err error) {`,
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %s in\n%s", want, code)
		}
	}
	if strings.Contains(plain, "Connect(") {
		t.Error("a WebSocket has a method")
	}
	for _, wrong := range []string{`{`, `{"components": {"schemas": {"A": {"type": ["string", "integer"]}}}}`} {
		if _, err := generate([]byte(wrong)); err == nil {
			t.Errorf("%s makes a client", wrong)
		}
	}
}
