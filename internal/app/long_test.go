package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestLongExecutions checks that 10,000 executions in a row and 1,000 at once all
// succeed and leave nothing behind, neither while Kaa runs nor after it.
func TestLongExecutions(t *testing.T) { //nolint:paralleltest // it counts what there is
	testenv.Long(t)
	before := inventory()
	t.Run("run", func(t *testing.T) {
		k := start(t, 1, "KAA_LOG_LEVEL=WARN", "KAA_CONCURRENCY=8", "KAA_PARKED=8")
		inARow := func(n int) {
			for i := range n {
				if a := k.execute(fields{"code": fmt.Sprintf("print(%d)", i)}); a.str("stdout") != fmt.Sprintln(i) || a.str("status") != "ok" {
					t.Fatal(a.raw)
				}
			}
		}
		atOnce := func(n int) {
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					a, err := k.try(t.Context(), http.MethodPost, executePath, fields{"code": fmt.Sprintf("print(%d)", i), "timeout": 30})
					if err != nil || a.status != http.StatusOK || a.str("stdout") != fmt.Sprintln(i) {
						t.Errorf("%v %s", err, a.raw)
					}
				})
			}
			wg.Wait()
			k.client.CloseIdleConnections()
		}
		// After this there are as many connections and buffers as there will be.
		atOnce(1000)
		inARow(1000)
		warm := settled(t, nil)
		t.Logf("warm: %v", warm)
		if warm["processes"] == 0 || warm["slots"] == 0 {
			t.Fatal("the interpreters were not found: what they are called has changed")
		}
		inARow(10_000)
		rows := settled(t, warm)
		t.Logf("after 10,000 in a row: %v", rows)
		atOnce(1000)
		all := settled(t, warm)
		if text := k.logs.String(); text != "" {
			t.Logf("the log:\n%s", text)
		}
		t.Logf("after 1,000 at once: %v", all)
		for _, after := range []stockList{rows, all} {
			// Go gives memory back when it likes; a leak of 1 kB each would be 10 MB.
			if grown := after["heap KiB"] - warm["heap KiB"]; grown > 4<<10 {
				t.Errorf("the heap has grown by %d KiB", grown)
			}
			if grown := after["RSS KiB"] - warm["RSS KiB"]; grown > 16<<10 {
				t.Errorf("the process has grown by %d KiB", grown)
			}
			if grown := after["children's RSS KiB"] - warm["children's RSS KiB"]; grown > 16<<10 {
				t.Errorf("zygote and workers have grown by %d KiB", grown)
			}
			if most := 8 + 8; after["slots"] > most {
				t.Errorf("%d slots for 8 parked workers and 8 at work", after["slots"])
			}
		}
	})
	after := inventory()
	for _, name := range counted {
		// Redis and the HTTP client of the tests stay.
		if name != "descriptors" && name != "processes" && after[name] > before[name] {
			t.Errorf("%d %s before, %d after", before[name], name, after[name])
		}
	}
	if n := len(interpreters()); n > 0 {
		t.Errorf("%d interpreters are left", n)
	}
}

// stockList is what there is of what could leak.
type stockList map[string]int

// counted may not grow at all.
var counted = []string{"processes", "descriptors", "mounts", "namespaces", "control groups"}

// slack is for connections that are kept for reuse; their number varies.
var slack = stockList{"descriptors": 8}

// settled waits until the counts no longer change and are within those of want, if it
// is given, and returns them.
func settled(t *testing.T, want stockList) stockList {
	t.Helper()
	last, same := inventory(), 0
	for range 300 {
		<-time.After(100 * time.Millisecond)
		now := inventory()
		ok := true
		for _, name := range counted {
			ok = ok && now[name] == last[name] && (want == nil || now[name] <= want[name]+slack[name])
		}
		same++
		if !ok {
			same = 0
		}
		last = now
		if same >= 10 {
			want = nil
			break
		}
	}
	if want != nil {
		t.Errorf("%v\nis not as before:\n%v", last, want)
	}
	runtime.GC() // what is pooled goes with the second collection
	debug.FreeOSMemory()
	return inventory()
}

// inventory counts without the slots and what belongs to them: how many there are
// varies, because one is replaced when its supervisor was slow to answer.
func inventory() stockList {
	found := stockList{"descriptors": entries("/proc/self/fd"), "RSS KiB": rss(os.Getpid())}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	found["heap KiB"] = int(mem.HeapAlloc >> 10)
	mounts := func(pid int) int {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		return strings.Count(string(text), "\n")
	}
	found["mounts"] = mounts(os.Getpid())
	namespaces := map[string]bool{}
	add := func(pid int, found map[string]bool) {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil && !strings.Contains(link, "for_children") {
				found[name] = true
			}
		}
	}
	add(os.Getpid(), namespaces)
	for _, p := range interpreters() {
		if p.slot {
			found["slots"]++
			continue
		}
		found["processes"]++
		found["children's RSS KiB"] += rss(p.pid)
		found["mounts"] += mounts(p.pid)
		add(p.pid, namespaces)
	}
	found["namespaces"] = len(namespaces)
	groups, controllers := 0, 0
	for _, pattern := range []string{"/sys/fs/cgroup/kaa-%d-*", "/sys/fs/cgroup/*/kaa-%d-*", "/sys/fs/cgroup/*/*/kaa-%d-*"} {
		tops, _ := filepath.Glob(fmt.Sprintf(pattern, os.Getpid()))
		for _, top := range tops {
			controllers++
			_ = filepath.WalkDir(top, func(_ string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups++
				}
				return nil
			})
		}
	}
	found["control groups"] = groups - controllers*found["slots"]
	ofSlot := 2 // its socket and its pidfd
	switch {    // and the counters of its control group
	case controllers > 1: // of version 1
		ofSlot += 3
	case controllers == 1:
		ofSlot += 2
	}
	found["descriptors"] -= ofSlot * found["slots"]
	return found
}

func entries(dir string) int {
	list, _ := os.ReadDir(dir)
	return len(list)
}

func rss(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	if words := strings.Fields(rest); len(words) > 0 {
		n, _ := strconv.Atoi(words[0])
		return n
	}
	return 0
}

type interpreterProcess struct {
	pid  int
	slot bool
}

// interpreters are the processes of Python that descend from this one: zygotes, their
// children the slots, supervisors and workers.
func interpreters() []interpreterProcess {
	var all []interpreterProcess
	var walk func(pid, depth int)
	walk = func(pid, depth int) {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for word := range strings.FieldsSeq(string(text)) {
				child, _ := strconv.Atoi(word)
				if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); strings.Contains(string(line), "start.py") {
					all = append(all, interpreterProcess{child, depth == 1})
					walk(child, depth+1)
				}
			}
		}
	}
	walk(os.Getpid(), 0)
	return all
}
