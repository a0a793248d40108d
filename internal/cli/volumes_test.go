package cli_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// TestVolumes: `kaa volumes` lists volumes and deletes them.
func TestVolumes(t *testing.T) {
	t.Parallel()
	call := asOperator(t)
	remove := func(p app.Process) error { return cli.DeleteVolume(t.Context(), p, "files:1") }
	list := func(p app.Process) error { return cli.ListVolumes(t.Context(), p) }
	var session string
	send := func(method, path, body string) func(p app.Process) error {
		return func(p app.Process) error {
			req, err := http.NewRequestWithContext(t.Context(), method, p.Environ.Get("KAA_URL")+path, strings.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+p.Environ.Get("KAA_API_KEY"))
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			session = strings.TrimPrefix(res.Header.Get("Location"), "/v1/sessions/")
			return res.Body.Close()
		}
	}
	if _, err := call(send(http.MethodPost, "/v1/sessions", `{"persist": "files:1"}`)); err != nil || session == "" {
		t.Fatal(err)
	}
	if out, err := call(list); err != nil || !strings.Contains(out, "files:1  0        0      -      -        "+session) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := call(remove); err == nil || !strings.Contains(err.Error(), session) {
		t.Errorf("one in use: %v", err)
	}
	if _, err := call(send(http.MethodDelete, "/v1/sessions/"+session, "")); err != nil {
		t.Fatal(err)
	}
	if out, err := call(remove); err != nil || !strings.Contains(out, "files:1 is deleted") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := call(remove); err == nil || !strings.Contains(err.Error(), "no volume") {
		t.Errorf("again: %v", err)
	}
}
