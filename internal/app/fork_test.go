package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// fork makes copies of a session and returns their ids.
func (k *kaa) fork(session string, count int) []string {
	k.tb.Helper()
	a := k.call(http.MethodPost, sessionsPath+"/"+session+"/fork", fields{"count": count})
	if a.status != http.StatusCreated {
		k.tb.Fatalf("fork: %d %s", a.status, a.raw)
	}
	var body struct {
		Sessions []struct {
			ID, State, Runner, ForkedFrom string
			Metadata                      map[string]int
		}
	}
	if err := json.Unmarshal([]byte(a.raw), &body); err != nil {
		k.tb.Fatal(err)
	}
	ids := make([]string, 0, count)
	for _, s := range body.Sessions {
		if s.State != "idle" || s.ForkedFrom != session || s.Runner == "" {
			k.tb.Errorf("a copy: %+v", s)
		}
		ids = append(ids, s.ID)
	}
	if len(ids) != count {
		k.tb.Fatalf("%d copies, want %d", len(ids), count)
	}
	return ids
}

func TestForkSession(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	a := k.call(http.MethodPost, sessionsPath, fields{"envs": fields{"A": "b"}, "metadata": fields{"mine": 1}})
	id := a.str("id")
	// A session that has executed nothing can be copied, too.
	k.in(k.fork(id, 1)[0], "import os\nassert os.environ['A'] == 'b'")
	k.in(id, "import os\nx = ['origin']\nopen('f', 'w').write('common')")
	ids := k.fork(id, 16)
	if a := k.call(http.MethodGet, sessionsPath+"/"+ids[3], nil); a.str("metadata.mine") != "1" || a.str("forkedFrom") != id || a.str("expiresAt") == "" {
		t.Errorf("a copy: %s", a.raw)
	}
	var wg sync.WaitGroup
	for i, one := range ids {
		wg.Go(func() {
			k.in(one, fmt.Sprintf("x.append(%d)\nopen('f', 'a').write(' %d')", i, i))
			if out := k.in(one, "print(x, open('f').read(), os.environ['A'])"); out != fmt.Sprintf("['origin', %d] common %d b\n", i, i) {
				t.Errorf("copy %d: %q", i, out)
			}
		})
	}
	wg.Wait()
	if out := k.in(id, "print(x, open('f').read())"); out != "['origin'] common\n" {
		t.Errorf("the origin: %q", out)
	}

	// The end of one is not the end of the others, whatever ends it.
	k.execute(fields{"code": "os.kill(os.getpid(), 9)", "sessionId": ids[0]})
	k.wantEnded(ids[0], "crashed")
	if a := k.call(http.MethodDelete, sessionsPath+"/"+id, nil); a.status != http.StatusOK {
		t.Errorf("delete the origin: %d %s", a.status, a.raw)
	}
	k.wantEnded(id, "deleted")
	for i, one := range ids[1:] {
		if out := k.in(one, "print(x)"); out != fmt.Sprintf("['origin', %d]\n", i+1) {
			t.Errorf("copy %d after the end of others: %q", i+1, out)
		}
	}
	// And copies can be copied, restarted and deleted.
	again := k.fork(ids[1], 1)[0]
	if out := k.in(again, "print(x)"); out != "['origin', 1]\n" {
		t.Errorf("copy of a copy: %q", out)
	}
	if a := k.call(http.MethodPost, sessionsPath+"/"+again+"/restart", nil); a.status != http.StatusOK {
		t.Errorf("restart: %d %s", a.status, a.raw)
	}
	if a := k.execute(fields{"code": "print(x)", "sessionId": again}); a.str("error.name") != "NameError" {
		t.Errorf("after restart: %s", a.raw)
	}
}

func TestForkIsRefused(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_SESSIONS=5", "KAA_MAX_SESSIONS_PER_KEY=4")
	id := k.open(nil)
	path := sessionsPath + "/" + id + "/fork"
	k.in(id, "import threading\ne = threading.Event()\nt = threading.Thread(target=e.wait, name='mine')\nt.start()")
	if a := k.call(http.MethodPost, path, nil); a.status != http.StatusConflict || a.str("code") != "refused" || !strings.Contains(a.str("detail"), "the thread mine") {
		t.Errorf("with a thread: %d %s", a.status, a.raw)
	}
	k.in(id, "e.set()\nt.join()")
	if a := k.call(http.MethodPost, path, fields{"count": 4}); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_sessions" || a.str("used") != "1" || a.str("allowed") != "4" {
		t.Errorf("more than the key may: %d %s", a.status, a.raw)
	}
	for _, count := range []int{0, 17, -1} {
		if a := k.call(http.MethodPost, path, fields{"count": count}); a.status != http.StatusBadRequest {
			t.Errorf("count %d: %d %s", count, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, sessionsPath, nil); strings.Count(a.raw, `"id":`) != 1 {
		t.Errorf("what was refused left sessions: %s", a.raw)
	}
	k.fork(id, 3)
	if a := k.call(http.MethodPost, path, nil); a.status != http.StatusTooManyRequests {
		t.Errorf("one more: %d %s", a.status, a.raw)
	}
	none := sessionsPath + "/01900000-0000-7000-8000-000000000000"
	for _, op := range []string{"fork", "checkpoint", "rollback"} {
		if a := k.call(http.MethodPost, none+"/"+op, nil); a.status != http.StatusNotFound {
			t.Errorf("%s of none: %d %s", op, a.status, a.raw)
		}
	}

	small := start(t, 1, "KAA_MAX_SESSIONS=2")
	id = small.open(nil)
	if a := small.call(http.MethodPost, sessionsPath+"/"+id+"/fork", fields{"count": 2}); a.status != http.StatusServiceUnavailable || a.str("code") != "sessions_full" {
		t.Errorf("more than the runner has room for: %d %s", a.status, a.raw)
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	path := sessionsPath + "/" + id
	point := func() string {
		t.Helper()
		a := k.call(http.MethodPost, path+"/checkpoint", nil)
		if a.status != http.StatusCreated || a.str("checkpointId") == "" {
			t.Fatalf("checkpoint: %d %s", a.status, a.raw)
		}
		return a.str("checkpointId")
	}
	back := func(body any, want string) {
		t.Helper()
		if a := k.call(http.MethodPost, path+"/rollback", body); a.status != http.StatusOK || a.str("id") != id || a.str("state") != "idle" {
			t.Fatalf("rollback: %d %s", a.status, a.raw)
		}
		if out := k.in(id, "print(x, open('f').read(), sorted(os.listdir('.')), os.getcwd() == home)"); out != want {
			t.Errorf("after rollback: %q, want %q", out, want)
		}
	}
	if a := k.call(http.MethodPost, path+"/rollback", nil); a.status != http.StatusNotFound || a.str("code") != "checkpoint_not_found" {
		t.Errorf("without a checkpoint: %d %s", a.status, a.raw)
	}
	k.in(id, "import os\nhome = os.getcwd()\nx = 1\nopen('f', 'w').write('one')")
	first := point()
	k.in(id, "x = 2\nopen('f', 'w').write('two')\nopen('g', 'w').close()")
	point()
	k.in(id, "x = 3\nos.unlink('f')")
	back(nil, "2 two ['f', 'g'] True\n")
	k.in(id, "x = 4\nopen('f', 'w').write('four')")
	back(nil, "2 two ['f', 'g'] True\n")
	back(fields{"checkpointId": first}, "1 one ['f'] True\n")
	k.in(id, "import time\nimport threading\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()")
	back(fields{"checkpointId": first}, "1 one ['f'] True\n")
	if a := k.call(http.MethodPost, path+"/restart", nil); a.status != http.StatusOK {
		t.Errorf("restart: %d %s", a.status, a.raw)
	}
	back(fields{"checkpointId": first}, "1 one ['f'] True\n")
	for range 6 {
		point()
	}
	if a := k.call(http.MethodPost, path+"/checkpoint", nil); a.status != http.StatusConflict || a.str("code") != "refused" {
		t.Errorf("one checkpoint more: %d %s", a.status, a.raw)
	}
	// A copy has none of them, and is rolled back by its own.
	copied := k.fork(id, 1)[0]
	if a := k.call(http.MethodPost, sessionsPath+"/"+copied+"/rollback", nil); a.status != http.StatusNotFound {
		t.Errorf("rollback of a copy: %d %s", a.status, a.raw)
	}
	id, path = copied, sessionsPath+"/"+copied
	k.in(id, "home = os.getcwd()")
	point()
	k.in(id, "x = 5")
	back(nil, "1 one ['f'] True\n")
}
