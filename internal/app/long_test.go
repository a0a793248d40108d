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
		// After this there are as many slots, connections and buffers as there will be:
		// while 8 sleep, 8 others are parked.
		var busy sync.WaitGroup
		for range 8 {
			busy.Go(func() { k.execute(fields{"code": "import time; time.sleep(3)"}) })
		}
		busy.Wait()
		atOnce(1000)
		inARow(1000)
		warm := settled(t, nil)
		t.Logf("warm: %v", warm)
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
				t.Errorf("zygotes and slots have grown by %d KiB", grown)
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
			// A slot is closed when its supervisor was too slow for its patience.
			ok = ok && now[name] == last[name] && (want == nil || now[name] <= want[name])
		}
		same++
		if !ok {
			same = 0
		}
		if same >= 10 {
			runtime.GC() // what is pooled goes with the second collection
			debug.FreeOSMemory()
			return inventory()
		}
		last = now
	}
	t.Errorf("%v\nis not as before:\n%v", last, want)
	return last
}

func inventory() stockList {
	found := stockList{"descriptors": entries("/proc/self/fd"), "RSS KiB": rss(os.Getpid())}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	found["heap KiB"] = int(mem.HeapAlloc >> 10)
	namespaces := map[string]bool{}
	mounts := func(pid int) int {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		return strings.Count(string(text), "\n")
	}
	found["mounts"] = mounts(os.Getpid())
	for _, pid := range interpreters() {
		found["processes"]++
		found["children's RSS KiB"] += rss(pid)
		found["mounts"] += mounts(pid)
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
		for _, link := range links {
			name, err := os.Readlink(link)
			if err == nil {
				namespaces[name] = true
			}
		}
	}
	found["namespaces"] = len(namespaces)
	groups := map[string]bool{}
	for _, pattern := range []string{"/sys/fs/cgroup/kaa-%d-*", "/sys/fs/cgroup/*/kaa-%d-*", "/sys/fs/cgroup/*/*/kaa-%d-*"} {
		tops, _ := filepath.Glob(fmt.Sprintf(pattern, os.Getpid()))
		for _, top := range tops {
			_ = filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups[path] = true
				}
				return nil
			})
		}
	}
	found["control groups"] = len(groups)
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

// interpreters are the processes of Python that descend from this one.
func interpreters() []int {
	var all []int
	todo := []int{os.Getpid()}
	for len(todo) > 0 {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", todo[0]))
		todo = todo[1:]
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for word := range strings.FieldsSeq(string(text)) {
				pid, _ := strconv.Atoi(word)
				todo = append(todo, pid)
				if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(line), "zygote.py") {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}
