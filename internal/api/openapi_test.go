package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOpenAPIFile: docs/openapi.json is the document that is served, so that each change of the
// API shows in a diff. `make openapi` writes it.
func TestOpenAPIFile(t *testing.T) {
	t.Parallel()
	const file = "../../docs/openapi.json"
	cfg := config(new(fakeStore))
	cfg.dialect.Version = "unversioned" // a build knows its own
	served := new(bytes.Buffer)
	if err := json.Indent(served, call(t, newAPI(cfg), http.MethodGet, "/openapi.json", "").Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	text := append(bytes.TrimSpace(served.Bytes()), '\n')
	if os.Getenv("KAA_OPENAPI") == "write" {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, text) {
		t.Errorf("docs/openapi.json is not what is served; if the change is meant, run `make openapi` (-file +served):\n%s",
			cmp.Diff(string(kept), string(text)))
	}
}
