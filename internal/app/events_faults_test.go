package app_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestEventsWithoutRedis: a stream that breaks says so, and goes on where it was once
// Redis is back, with all that was written meanwhile.
func TestEventsWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ fault, heal func(b *broken) }{
		"unreachable":    {func(b *broken) { b.link.Cut() }, func(b *broken) { b.link.Heal() }},
		"standing still": {func(b *broken) { b.own.Freeze() }, func(b *broken) { b.own.Thaw() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBrokenWith(t, "", "KAA_EVENT_BYTES=1048576")
			id := b.submit(fields{"code": "import time\nfor i in range(120):\n  print(i)\n  time.sleep(.1)", "events": true})
			s := b.follow(id, "")
			last := s.await(ofOutput("5\n"))
			fault.fault(b)
			began := time.Now()
			var broken event
			for e, ok := s.next(); ok; e, ok = s.next() {
				broken = e
				if e.id != "" {
					last = e
				}
			}
			testenv.Within(t, 15*time.Second, began)
			if broken.name != "error" || broken.str("resumable") != "true" || broken.str("code") != "unavailable" || broken.id != "" {
				t.Errorf("the last event is %v", broken)
			}
			fault.heal(b)
			testenv.Eventually(t, "ready again", func() bool { return b.call(http.MethodGet, "/readyz", nil).status == http.StatusOK })
			text := ""
			for _, e := range b.follow(id, last.id).all() {
				if e.name == "gap" {
					t.Errorf("gap: %v", e.data)
				}
				text += e.str("text")
			}
			lines := strings.Fields(text)
			var first int
			if _, err := fmt.Sscan(lines[0], &first); err != nil {
				t.Fatal(err)
			}
			for i, line := range lines {
				if line != fmt.Sprint(first+i) {
					t.Fatalf("line %d after %s is %s", i, lines[0], line)
				}
			}
			if lines[len(lines)-1] != "119" {
				t.Errorf("output ends with %s", lines[len(lines)-1])
			}
		})
	}
}

// TestEventsOfAFlood: code that prints far more than its reader takes is not held up, and
// neither API nor runner nor Redis remembers it all. The reader is told what he missed.
func TestEventsOfAFlood(t *testing.T) { //nolint:paralleltest // it measures the heap
	k := start(t, 1)
	megabytes := 200
	if testenv.IsLong() {
		megabytes = 10_000
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	began := time.Now()
	s := k.executeLive(fields{"timeout": 600, "code": fmt.Sprintf("line = 'x' * 1023\nfor i in range(%d << 10): print(line)\nprint('end')", megabytes)})
	first, _ := s.next()
	ended := make(chan time.Duration, 1)
	go func() {
		k.await(first.str("jobId"))
		ended <- time.Since(began)
	}()
	tick := time.NewTicker(5 * time.Millisecond) // a slow reader: 6 MB a second
	defer tick.Stop()
	read, missed, over := int64(0), int64(0), atomic.Bool{}
	text := ""
	for e, ok := s.next(); ok; e, ok = s.next() {
		switch e.name {
		case "stream":
			text = e.str("text")
			read += int64(len(text))
		case "gap":
			bytes, _ := e.data["bytes"].(float64)
			missed += int64(bytes)
		case "status":
			over.Store(e.str("state") == "completed")
		}
		most = max(most, heap())
		<-tick.C
	}
	if want := int64(megabytes)<<20 + int64(len("end\n")); read+missed != want || !strings.HasSuffix(text, "end\n") || !over.Load() {
		t.Errorf("read %d bytes and missed %d, of %d; over: %t", read, missed, want, over.Load())
	}
	t.Logf("the code took %s; read %d MB and missed %d MB in %s; heap %d MB, then %d MB at most",
		<-ended, read>>20, missed>>20, time.Since(began), before>>20, most>>20)
	if most > before+64<<20 {
		t.Errorf("the heap grew by %d MB", (most-before)>>20)
	}
	if size := k.redis.Client(t).MemoryUsage(t.Context(), "{kaa}:events:"+first.str("jobId")).Val(); size > 12<<20 {
		t.Errorf("Redis holds %d bytes of events", size)
	}
}

// TestEventsOfALostRunner: followers and callers are told when a runner dies, and no
// event of its comes after that.
func TestEventsOfALostRunner(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	cmd := testenv.Child(t, "runner", testenv.Fit, k.environ)
	if _, err := cmd.StdinPipe(); err != nil { // it lives as long as that is open
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const code = "import time\nwhile True:\n  print('on')\n  time.sleep(.01)"
	call := k.executeLive(fields{"code": code})
	first, _ := call.next()
	follower := k.follow(first.str("jobId"), "")
	call.await(ofOutput("on\n"))
	follower.await(ofOutput("on\n"))
	killed := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for name, s := range map[string]*stream{"caller": call, "follower": follower} {
		all := s.all()
		testenv.Within(t, 15*time.Second, killed)
		last := all[len(all)-1]
		if failure, _ := last.data["failure"].(map[string]any); last.brief() != "status failed" || failure["code"] != "runner_lost" {
			t.Errorf("%s: the last event is %v", name, last.data)
		}
	}
}
