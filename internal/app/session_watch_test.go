package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// watchDirectory opens the events of a directory of a session.
func (k *kaa) watchDirectory(session, query string) *stream {
	k.tb.Helper()
	return k.stream(http.MethodGet, "/v1/sessions/"+session+"/fs/watch?"+query, nil)
}

// change waits for an event of a kind and a path.
func (s *stream) change(kind, path string) event {
	s.tb.Helper()
	var all []event
	for e, ok := s.next(); ok; e, ok = s.next() {
		all = append(all, e)
		if e.name == kind && e.str("path") == path {
			return e
		}
	}
	s.tb.Fatalf("no %s of %q in %v", kind, path, all)
	return event{}
}

// TestWatchFiles: changes by code, commands and calls are seen while they happen, and the watch ends with a reason.
func TestWatchFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{})
	k.command(session, fields{"command": "mkdir -p d/sub flat; touch file"})
	deep, flat := k.watchDirectory(session, "path=d&recursive=true"), k.watchDirectory(session, "path=/work/flat")
	k.command(session, fields{"command": "echo 1 > d/sub/a; mkdir flat/below; echo 1 > flat/below/unseen; chmod 600 d/sub/a; mv d/sub/a d/b; rm d/b; printf x > flat/\"$(printf 'n\\377')\"; touch flat/seen"})
	for _, want := range [][2]string{{"create", "sub/a"}, {"write", "sub/a"}, {"chmod", "sub/a"}, {"rename", "sub/a"}, {"create", "b"}, {"remove", "b"}} {
		deep.change(want[0], want[1])
	}
	if e := flat.change("create", `n\xff`); e.str("escaped") != "true" {
		t.Errorf("a name that is no UTF-8: %v", e.data)
	}
	flat.change("create", "seen")
	k.in(session, "import os; os.mkdir('d/new'); open('d/new/f', 'w').close()")
	deep.change("create", "new/f")
	k.command(session, fields{"command": "rm -r d"})
	deep.change("remove", ".")
	if e := deep.change("end", ""); e.str("reason") != "directory_gone" {
		t.Errorf("end: %v", e.data)
	}
	for path, want := range map[string]int{"nonesuch": http.StatusNotFound, "file": http.StatusConflict, "/etc": http.StatusForbidden} {
		if a := k.call(http.MethodGet, "/v1/sessions/"+session+"/fs/watch?path="+url.QueryEscape(path), nil); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	others := make([]*stream, 15) // with the one that is left, as many as may be
	for i := range others {
		others[i] = k.watchDirectory(session, "path=/tmp")
	}
	if a := k.call(http.MethodGet, "/v1/sessions/"+session+"/fs/watch?path=/tmp", nil); a.status != http.StatusConflict || !strings.Contains(a.raw, "watches") {
		t.Errorf("one too many: %d %s", a.status, a.raw)
	}
	for _, other := range others {
		other.close()
	}
	k.call(http.MethodDelete, "/v1/sessions/"+session, nil)
	if e := flat.change("end", ""); e.str("reason") == "" || e.str("reason") == "directory_gone" {
		t.Errorf("end of the session: %v", e.data)
	}
}
