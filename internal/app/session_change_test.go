package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestChangeSession: the end of a live session moves both ways, within its bounds, and its metadata is replaced.
func TestChangeSession(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_SESSION_IDLE_TIMEOUT=10m", "KAA_MAX_SESSION_IDLE_TIMEOUT=1h", "KAA_MAX_SESSION_AGE=2h", "KAA_SESSION_AGE=1h")
	id := k.open(fields{"idleTimeout": 60, "maxAge": 3600, "metadata": fields{"user": "ada", "old": true}})
	path := sessionsPath + "/" + id
	patch := func(body any) answer { t.Helper(); return k.call(http.MethodPatch, path, body) }
	left := func(a answer) time.Duration {
		t.Helper()
		at, err := time.Parse(time.RFC3339, a.str("expiresAt"))
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		return time.Until(at).Round(10 * time.Minute)
	}
	if a := patch(fields{"idleTimeout": 3600, "metadata": fields{"user": "bob"}}); left(a) != time.Hour || a.str("metadata.user") != "bob" || strings.Contains(a.raw, "old") {
		t.Errorf("later idle timeout: %s", a.raw)
	}
	if a := patch(fields{"maxAge": 1800}); left(a) != 30*time.Minute || a.str("metadata.user") != "bob" {
		t.Errorf("less age: %s", a.raw)
	}
	if a := patch(fields{"maxAge": 7200, "endsIn": 1200}); left(a) != 20*time.Minute || a.str("endsAt") != a.str("expiresAt") {
		t.Errorf("an end: %s", a.raw)
	}
	if a := patch(fields{"endsIn": 600, "onlyLater": true}); left(a) != 20*time.Minute {
		t.Errorf("an earlier end that may only be later: %s", a.raw)
	}
	if a := patch(fields{"endsIn": 2400, "onlyLater": true}); left(a) != 40*time.Minute {
		t.Errorf("a later end that may only be later: %s", a.raw)
	}
	if a := patch(fields{"endsAt": time.Now().Add(10 * time.Minute).Format(time.RFC3339)}); left(a) != 10*time.Minute {
		t.Errorf("an earlier end: %s", a.raw)
	}
	k.in(id, "x = 1")
	if a := patch(fields{}); left(a) != 10*time.Minute {
		t.Errorf("after an execution: %s", a.raw)
	}
	if a := patch(`{"endsAt": null}`); left(a) != time.Hour || a.str("endsAt") != "" {
		t.Errorf("no end: %s", a.raw)
	}
	for body, want := range map[string]string{
		`{"idleTimeout": 3601}`:                           "body.idleTimeout: must be from 1 to 3600 seconds",
		`{"maxAge": 0}`:                                   "body.maxAge: must be from 1 to 7200 seconds",
		`{"endsIn": 7200, "maxAge": 600}`:                 "body.endsIn: is later than maxAge of the session allows",
		`{"endsAt": "2999-01-01T00:00:00Z"}`:              "body.endsAt: is later than maxAge of the session allows",
		`{"endsAt": "2999-01-01T00:00:00Z", "endsIn": 5}`: "body.endsIn: cannot be combined with endsAt",
		`{"endsAt": null, "endsIn": 5}`:                   "body.endsIn: cannot be combined with endsAt",
		`{"endsAt": "soon"}`:                              "body.endsAt",
		`{"onlyLater": true}`:                             "body.onlyLater: is about endsAt and endsIn",
		`{"metadata": 1}`:                                 "body.metadata",
		`{"state": "idle"}`:                               "body.state",
		fmt.Sprintf(`{"metadata": {"a": %q}}`, strings.Repeat("x", 1<<20)): "body.metadata",
	} {
		if a := patch(body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), want) {
			t.Errorf("%.80s: %d %.300s", body, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, path, nil); left(a) != time.Hour || a.str("metadata.user") != "bob" {
		t.Errorf("a refused change has changed the session: %s", a.raw)
	}
	checkEndAtCreation(t, k)
	running := k.submit(fields{"code": "import time\ntime.sleep(3000)", "timeout": 3000, "sessionId": id})
	patch(fields{"endsIn": 1})
	testenv.Eventually(t, "the end of the session", func() bool { return k.call(http.MethodGet, path, nil).str("state") == "ended" })
	k.wantEnded(id, "ends_at")
	k.await(running)
	if a := patch(fields{"endsIn": 60}); a.status != http.StatusGone || a.str("reason") != "ends_at" {
		t.Errorf("change of an ended session: %d %s", a.status, a.raw)
	}
}

// checkEndAtCreation: a session gets its end when it is opened, and PATCH moves it both ways.
func checkEndAtCreation(t *testing.T, k *kaa) {
	t.Helper()
	at := time.Now().Add(100 * time.Minute).UTC().Truncate(time.Millisecond)
	for i, want := range []struct {
		body            fields
		ends, idle, age string // seconds, or a time
	}{
		{fields{"endsAt": at}, at.Format(time.RFC3339Nano), "3600", "7200"},
		{fields{"endsIn": 1800}, "30m0s", "3600", "7200"},
		{fields{"endsIn": 1800, "idleTimeout": 60, "maxAge": 3600}, "30m0s", "60", "3600"},
		{fields{"endsIn": nil, "endsAt": nil}, "", "600", "3600"},
	} {
		a := k.call(http.MethodPost, sessionsPath, want.body)
		if i == 1 {
			a = k.call(http.MethodPut, sessionsPath+"/by-name/ends", want.body)
		}
		ends := a.str("endsAt")
		if set, err := time.Parse(time.RFC3339, ends); err == nil && !strings.Contains(want.ends, "T") {
			ends = time.Until(set).Round(10 * time.Minute).String()
		}
		if a.status != http.StatusCreated || ends != want.ends || a.str("idleTimeout") != want.idle || a.str("maxAge") != want.age {
			t.Errorf("opened with %v: %d %s", want.body, a.status, a.raw)
		}
		got := k.call(http.MethodGet, sessionsPath+"/"+a.str("id"), nil)
		if got.str("expiresAt") != a.str("expiresAt") || got.str("endsAt") != a.str("endsAt") || want.idle == "3600" && ends != want.ends {
			t.Errorf("it is %s, and was opened as %s", got.raw, a.raw)
		}
		for _, minutes := range []int{5, 50} {
			moved := k.call(http.MethodPatch, sessionsPath+"/"+a.str("id"), fields{"endsIn": minutes * 60})
			if set, err := time.Parse(time.RFC3339, moved.str("endsAt")); err != nil || time.Until(set).Round(5*time.Minute) != time.Duration(minutes)*time.Minute {
				t.Errorf("moved: %d %s", moved.status, moved.raw)
			}
		}
	}
	for body, want := range map[string]string{
		`{"endsIn": 7201}`:                                "body.endsIn: must be from 1 to 7200 seconds",
		`{"endsIn": 700, "maxAge": 600}`:                  "body.endsIn: is later than maxAge of the session allows",
		`{"endsAt": "2999-01-01T00:00:00Z"}`:              "body.endsAt: is later than maxAge of the session allows",
		`{"endsAt": "2001-01-01T00:00:00Z"}`:              "body.endsAt: is in the past",
		`{"endsAt": "2999-01-01T00:00:00Z", "endsIn": 5}`: "body.endsIn: cannot be combined with endsAt",
	} {
		if a := k.call(http.MethodPost, sessionsPath, body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), want) {
			t.Errorf("%s: %d %s", body, a.status, a.raw)
		}
	}
	a := k.call(http.MethodPut, sessionsPath+"/by-name/short", fields{"endsIn": 1})
	testenv.Eventually(t, "the end that was set when it was opened", func() bool {
		return k.call(http.MethodGet, sessionsPath+"/"+a.str("id"), nil).str("reason") == "ends_at"
	})
}

// TestListSessionsBy: a list is narrowed by state and by metadata, page by page.
func TestListSessionsBy(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	var ada []string
	for i := range 6 {
		id := k.open(fields{"metadata": fields{"user": []string{"ada", "bob"}[i%2], "n": i, "tag": "a=b&c,d"}})
		if i%2 == 0 {
			ada = append([]string{id}, ada...)
		}
	}
	k.open(nil)
	list := func(query string) (ids []string, next string) {
		t.Helper()
		a := k.call(http.MethodGet, sessionsPath+"?"+query, nil)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.status, a.raw)
		}
		all, _ := a.body["sessions"].([]any)
		for _, one := range all {
			ids = append(ids, answer{body: one.(map[string]any)}.str("id"))
		}
		return ids, a.str("nextCursor")
	}
	first, next := list("limit=2&metadata=user%3Dada")
	second, end := list("limit=2&metadata=user%3Dada&cursor=" + next)
	if got := append(first, second...); fmt.Sprint(got) != fmt.Sprint(ada) || len(first) != 2 || end != "" {
		t.Errorf("ada's are %v and %v, then %q; want %v", first, second, end, ada)
	}
	for query, want := range map[string]int{
		"metadata=n%3D2": 1, "metadata=user%3Dada&metadata=n%3D1": 0, "metadata=user%3Dada&metadata=n%3D2": 1, "metadata=user%3Dcarl": 0, "state=busy": 0,
		"state=idle": 7, "state=idle,busy": 7, "metadata=" + url.QueryEscape("tag=a=b&c,d"): 6, "metadata=n%3D%222%22": 0,
	} {
		if got, next := list(query); len(got) != want || next != "" {
			t.Errorf("%s: %v, next %q; want %d", query, got, next, want)
		}
	}
	for _, query := range []string{"metadata=user", "state=ended", "metadata=" + strings.Repeat("x", 2000) + "%3D1", strings.Repeat("metadata=a%3Db&", 9)} {
		if a := k.call(http.MethodGet, sessionsPath+"?"+query, nil); a.status != http.StatusBadRequest {
			t.Errorf("%.60s: %d %.200s", query, a.status, a.raw)
		}
	}
}

// TestSessionOnCrash: with onCrash a session goes on after the crash of its interpreter, among the same files, and says so. Without it, it ends.
func TestSessionOnCrash(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const crash = "import os\nx = 1\nopen('f', 'w').write('kept')\nos._exit(3)"
	id := k.open(fields{"onCrash": "restart"})
	for range 2 {
		if a := k.execute(fields{"sessionId": id, "code": crash}); a.str("session.state") != "idle" || a.str("session.restarted") != "true" || a.str("session.reason") != "crashed" {
			t.Errorf("the crash: %s", a.raw)
		}
		if out := k.in(id, "print(open('f').read(), 'x' in globals())"); out != "kept False\n" {
			t.Errorf("after it: %q", out)
		}
	}
	other := k.open(fields{"onCrash": "end"})
	k.execute(fields{"sessionId": other, "code": crash})
	k.wantEnded(other, "crashed")
	if a := k.call(http.MethodPost, sessionsPath, fields{"onCrash": "stay"}); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.raw)
	}
}
