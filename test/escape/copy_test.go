package escape_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestEscapeFromCopy runs the programs in copies of sessions: these are made by the kernel's
// fork of a confined process, so nothing may work there that does not work elsewhere. Bombs
// are for the limits, which are the slot's, and so the same. The origin has ended by then:
// members of a family may see each other. Their work directories are in /tmp.
func TestEscapeFromCopy(t *testing.T) { //nolint:paralleltest // see TestEscape
	testenv.Long(t)
	cases := load(t)
	for level := range strings.SplitSeq(*levels, ",") { //nolint:paralleltest // see TestEscape
		t.Run(level, func(t *testing.T) {
			if level == "none" {
				t.Skip("without a sandbox there is nothing to get out of")
			}
			o := newOutside(t)
			k := startKaa(t, level, o.secret)
			k.warmUp(t)
			before := k.settled(t)
			v := k.startVictim(t)
			about := hints(t, k, level, o, v)
			for _, c := range cases {
				inTmp := c.name == "other-tmp" || c.name == "other-shm"
				if group, _, _ := strings.Cut(c.name, "-"); group != "bomb" && c.protected(level) && !inTmp {
					t.Run(c.name, func(t *testing.T) { k.escapeFromCopy(t, c.request(level, about)) })
				}
			}
			if last := v.end(t, k); last != "INTACT" {
				t.Errorf("the victim says %s", last)
			}
			o.check(t)
			eventually(t, "everything is as before", func() string { return before.difference(k.take()) })
			if left := leftFiles(); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			k.stop(t)
		})
	}
}

// escapeFromCopy executes a case in the copy of a session.
func (k *kaa) escapeFromCopy(t *testing.T, request map[string]any) {
	t.Helper()
	var origin struct {
		ID string `json:"id"`
	}
	var forked struct {
		Sessions []struct {
			ID string `json:"id"`
		} `json:"sessions"`
	}
	post := func(path string, body, to any) {
		t.Helper()
		if err := k.call(t.Context(), http.MethodPost, path, body, to); err != nil {
			t.Fatalf("%v\n%s", err, k.logs)
		}
	}
	session := map[string]any{}
	if limits, ok := request["limits"]; ok {
		session["limits"] = limits
		delete(request, "limits")
	}
	post("/v1/sessions", session, &origin)
	post("/v1/sessions/"+origin.ID+"/fork", nil, &forked)
	remove := func(id string) {
		t.Helper()
		var gone any
		if err := k.call(t.Context(), http.MethodDelete, "/v1/sessions/"+id, nil, &gone); err != nil && !strings.Contains(err.Error(), "410") {
			t.Errorf("%v", err)
		}
	}
	remove(origin.ID)
	request["sessionId"] = forked.Sessions[0].ID
	r, err := k.execute(t.Context(), request)
	if err != nil {
		t.Fatalf("%v\n%s", err, k.logs)
	}
	if *verbose {
		t.Logf("%s", r)
	}
	if verdict := r.verdict(); verdict != "" {
		t.Errorf("%s\n%s", verdict, r)
	}
	remove(forked.Sessions[0].ID)
	if !eventually(t, "no process is left", func() string { return clip(strings.Join(runaways(), "; "), 500) }) {
		endRunaways()
	}
}
