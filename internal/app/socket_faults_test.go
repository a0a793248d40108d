package app_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

const sessionEnded websocket.StatusCode = 4410

const endless = "import time\nwhile True:\n  print('on')\n  time.sleep(.01)"

// wantSessionEnd checks the frames with which a socket ends together with its session: what
// was executed, or waited, has its end, and the last one says why.
func wantSessionEnd(t *testing.T, all []event, ended int, reason string) {
	t.Helper()
	for _, e := range all {
		if !isEnd(e) {
			continue
		}
		ended--
		if failure, _ := e.data["failure"].(map[string]any); e.str("state") != "failed" || failure["reason"] != reason {
			t.Errorf("an execution ends with %v", e.data)
		}
	}
	if len(all) == 0 {
		t.Fatal("the socket ends without a frame")
	}
	last := all[len(all)-1]
	if ended != 0 || last.name != "session" || last.str("state") != "ended" || last.str("reason") != reason || last.str("message") == "" {
		t.Errorf("%d executions have no end; the last frame is %v", ended, last.data)
	}
}

// TestSocketSessionDeleted: all is told to its end, and then the session's.
func TestSocketSessionDeleted(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	a, b := k.connect(id), k.connect(id)
	a.send(fields{"type": "execute", "code": endless})
	a.send(fields{"type": "execute", "code": "1"})
	a.send(fields{"type": "ping"})
	a.until(func(e event) bool { return e.name == "pong" }) // both are accepted
	b.until(ofOutput("on\n"))
	k.call(http.MethodDelete, sessionsPath+"/"+id, nil)
	for _, s := range []*socket{a, b} {
		wantSessionEnd(t, s.closed(sessionEnded), 2, "deleted")
	}
	// One that does nothing, too.
	id = k.open(nil)
	s := k.connect(id)
	at := time.Now()
	k.call(http.MethodDelete, sessionsPath+"/"+id, nil)
	wantSessionEnd(t, s.closed(sessionEnded), 0, "deleted")
	testenv.Within(t, time.Second, at)
}

// TestSocketRunnerKilled: the end of everything is told when the runner dies.
func TestSocketRunnerKilled(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	cmd := k.spawnRunner()
	id := k.open(nil)
	s := k.connect(id)
	s.send(fields{"type": "execute", "code": "input('?')"})
	s.send(fields{"type": "execute", "code": "1"})
	s.until(func(e event) bool { return e.name == "input_request" })
	killed := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wantSessionEnd(t, s.closed(sessionEnded), 2, "runner_lost")
	testenv.Within(t, 15*time.Second, killed)
}

// TestSocketInterpreterDies: so it is when only the interpreter does.
func TestSocketInterpreterDies(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	s := k.connect(k.open(nil))
	s.send(fields{"type": "execute", "code": "import os\nprint('last words')\nos._exit(3)"})
	all := s.closed(sessionEnded)
	text := fmt.Sprint(briefs(all))
	if !strings.Contains(text, "last words") || !strings.Contains(text, "status completed exit") || all[len(all)-1].str("reason") != "crashed" {
		t.Error(text)
	}
}

// TestSocketWithoutRedis: a short absence is borne; in a long one the executions are told
// not to be followed any more, and where they go on.
func TestSocketWithoutRedis(t *testing.T) {
	t.Parallel()
	b := startBrokenWith(t, "")
	id := b.open(nil)
	s := b.connect(id)
	s.send(fields{"type": "execute", "code": "import time\nfor i in range(400):\n  print(i)\n  time.sleep(.05)"})
	s.until(ofOutput("3\n"))
	b.link.Cut()
	time.AfterFunc(2*time.Second, b.link.Heal)
	text := ""
	for _, e := range s.until(ofOutput("100\n")) {
		if e.name == "error" {
			t.Errorf("a short absence: %v", e.data)
		}
		text += e.str("text")
	}
	if !strings.Contains(text, "20\n21\n22\n23\n24\n25\n26\n27\n28\n29\n30\n31\n") {
		t.Errorf("something is missing: %q", text)
	}
	b.link.Cut()
	at := time.Now()
	s.send(fields{"type": "execute", "id": "x", "code": "1"})
	var refused bool
	broken := ""
	for _, e := range s.closed(websocket.StatusTryAgainLater) {
		refused = refused || e.str("id") == "x" && e.str("code") == "unavailable"
		if e.str("code") == "unavailable" && e.str("resumable") == "true" {
			broken = e.str("jobId")
		}
	}
	testenv.Within(t, 30*time.Second, at)
	if !refused || broken == "" {
		t.Errorf("the execution that was sent is refused: %t; the one that runs is broken off: %q", refused, broken)
	}
	b.link.Heal()
	testenv.Eventually(t, "ready again", func() bool { return b.call(http.MethodGet, "/readyz", nil).status == http.StatusOK })
	goesOn := b.follow(broken, "").all()
	if last := goesOn[len(goesOn)-1]; last.str("state") != "completed" || !strings.Contains(fmt.Sprint(briefs(goesOn)), "399") {
		t.Errorf("it goes on with %v", briefs(goesOn))
	}
}

// TestSocketDrain: a process that stops closes its sockets at once, and says what goes on.
func TestSocketDrain(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	two := *k
	addr, stop := k.run(app.RunAPI)
	two.url = "http://" + addr.String()
	s, idle := two.connect(id), two.connect(k.open(nil))
	s.send(fields{"type": "execute", "code": endless, "timeout": 3})
	s.until(ofOutput("on\n"))
	at := time.Now()
	go func() { _ = stop() }()
	all := s.closed(websocket.StatusGoingAway)
	if last := all[len(all)-1]; last.str("code") != "draining" || last.str("resumable") != "true" || last.str("jobId") == "" {
		t.Errorf("the last frame is %v", last.data)
	}
	idle.closed(websocket.StatusGoingAway)
	if err := stop(); err != nil {
		t.Error(err)
	}
	testenv.Within(t, 5*time.Second, at)
	k.connect(id).until(isEnd)
}

// TestSocketSlowClient: the others and the execution do not notice that one takes nothing, and
// nothing is held for him.
func TestSocketSlowClient(t *testing.T) { //nolint:paralleltest // it measures the heap
	k := start(t, 1)
	id := k.open(nil)
	_, fast := k.connect(id), k.connect(id)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	fast.send(fields{"type": "execute", "code": "line = 'x' * 1023\nfor i in range(50 << 10): print(line)\nprint('end')"})
	var all int
	for _, e := range fast.until(func(e event) bool {
		most = max(most, heap())
		return isEnd(e)
	}) {
		all += len(e.str("text"))
		if e.name == "gap" {
			bytes, _ := e.data["bytes"].(float64)
			all += int(bytes)
		}
	}
	if all != 50<<20+4 {
		t.Errorf("the fast client was told of %d bytes", all)
	}
	if most > before+128<<20 { // the frames that this test keeps are in it
		t.Errorf("the heap grew from %d to %d MB", before>>20, most>>20)
	}
	if out := k.in(id, "print(i)"); out != "51199\n" {
		t.Errorf("printed %q", out)
	}
	if e, ok := fast.next(); !ok || e.name != "status" {
		t.Errorf("%v %t", e, ok)
	}
}

// TestManySockets: a hundred on one session; one more is refused.
func TestManySockets(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	sockets := make([]*socket, 100)
	for i := range sockets {
		sockets[i] = k.connect(id)
	}
	if _, res, err := k.dial(id); err == nil || res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more: %v", err)
	}
	var reading sync.WaitGroup
	for i, s := range sockets {
		reading.Go(func() {
			text := ""
			for _, e := range s.until(ends(len(sockets) / 10)) {
				text += e.str("text")
			}
			if n := strings.Count(text, "from"); n != len(sockets)/10 {
				t.Errorf("socket %d was told of %d executions", i, n)
			}
		})
		if i%10 == 0 {
			s.send(fields{"type": "execute", "code": fmt.Sprintf("print('from', %d)", i)})
		}
	}
	reading.Wait()
	_ = sockets[0].conn.Close(websocket.StatusNormalClosure, "")
	testenv.Eventually(t, "there is room for another", func() bool {
		conn, _, err := k.dial(id)
		if err == nil {
			_ = conn.CloseNow()
		}
		return err == nil
	})
}
