package app_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
)

const namesPath = sessionsPath + "/by-name/"

// TestNamedSession: there is one session of a name, whoever asks first; the name is free after its end, and is the
// tenant's.
func TestNamedSession(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	first := acme.call(http.MethodPut, namesPath+"chat:1", fields{"metadata": fields{"n": 1}, "idleTimeout": 60})
	id := first.str("id")
	if first.status != http.StatusCreated || first.str("name") != "chat:1" || first.header.Get("Location") != sessionsPath+"/"+id {
		t.Fatalf("%d %s", first.status, first.raw)
	}
	acme.in(id, "x = 41")
	again := acme.call(http.MethodPut, namesPath+"chat:1", fields{"metadata": fields{"n": 2}, "idleTimeout": 90})
	if again.status != http.StatusOK || again.str("id") != id || again.str("metadata.n") != "1" || again.str("idleTimeout") != "60" {
		t.Errorf("again: %d %s", again.status, again.raw)
	}
	if a := acme.call(http.MethodGet, namesPath+"chat:1", nil); a.status != http.StatusOK || a.str("id") != id {
		t.Errorf("look: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodGet, sessionsPath, nil); !strings.Contains(a.raw, `"name":"chat:1"`) {
		t.Errorf("list: %s", a.raw)
	}
	if a := rival.call(http.MethodGet, namesPath+"chat:1", nil); a.status != http.StatusNotFound || a.str("code") != "session_not_found" {
		t.Errorf("another tenant: %d %s", a.status, a.raw)
	}
	if a := rival.call(http.MethodDelete, namesPath+"chat:1", nil); a.status != http.StatusNotFound {
		t.Errorf("another tenant: %d %s", a.status, a.raw)
	}
	if a := rival.call(http.MethodPut, namesPath+"chat:1", nil); a.status != http.StatusCreated || a.str("id") == id {
		t.Errorf("another tenant: %d %s", a.status, a.raw)
	}
	if out := acme.in(id, "print(x)"); out != "41\n" {
		t.Errorf("printed %q", out)
	}
	fork := acme.call(http.MethodPost, sessionsPath+"/"+id+"/fork", fields{})
	if fork.status >= http.StatusBadRequest || strings.Contains(fork.raw, `"name"`) {
		t.Errorf("fork: %d %s", fork.status, fork.raw)
	}
	if a := acme.call(http.MethodDelete, namesPath+"chat:1", nil); a.status != http.StatusOK || a.str("id") != id || a.str("state") != "ended" {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if a := acme.call(method, namesPath+"chat:1", nil); a.status != http.StatusNotFound {
			t.Errorf("%s after the end: %d %s", method, a.status, a.raw)
		}
	}
	if a := acme.call(http.MethodPut, namesPath+"chat:1", fields{}); a.status != http.StatusCreated || a.str("id") == id {
		t.Errorf("a new one: %d %s", a.status, a.raw)
	}
	for _, name := range []string{"-x", "a%20b", "a%2Fb", "%C3%A9", strings.Repeat("x", 129), ".."} {
		if a := acme.call(http.MethodPut, namesPath+name, fields{}); a.status < 300 || a.status >= 500 || a.status == http.StatusBadRequest && !strings.Contains(a.raw, "name") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if a := acme.call(http.MethodPut, namesPath+"other", fields{"idleTimeout": -1}); a.status != http.StatusBadRequest {
		t.Errorf("a bad body: %d %s", a.status, a.raw)
	}
}

// TestNamedSessionAtOnce: of many callers at once, at two API processes, one opens the session and all get it.
func TestNamedSessionAtOnce(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	two := *one
	addr, _ := one.run(app.RunAPI)
	two.url = "http://" + addr.String()
	var wg sync.WaitGroup
	got := make([]answer, 24)
	for i := range got {
		k := []*kaa{one, &two}[i%2]
		wg.Go(func() { got[i], _ = k.try(t.Context(), http.MethodPut, namesPath+"same", fields{}) })
	}
	wg.Wait()
	made := 0
	for _, a := range got {
		if a.status == http.StatusCreated {
			made++
		}
		if a.str("id") == "" || a.str("id") != got[0].str("id") {
			t.Errorf("%d %s, want the session %s", a.status, a.raw, got[0].str("id"))
		}
	}
	if made != 1 {
		t.Errorf("%d of them opened it", made)
	}
}
