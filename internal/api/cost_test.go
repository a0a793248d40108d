package api_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

const (
	// A body of n bytes costs at most so many times n bytes of memory, beside what small
	// ones may.
	mostMemory  = 20
	freeMemory  = 4 << 20
	mostCPU     = 200 * time.Nanosecond // of processor time for each of its bytes
	freeCPU     = 50 * time.Millisecond
	costlyBytes = 256 << 10
)

// shapes are bodies of about n bytes, each the worst of its kind that is known.
func shapes(n int) map[string]string {
	list := func(format string, item func(i int) string, sep string) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			if i > 0 {
				b.WriteString(sep)
			}
			b.WriteString(item(i))
		}
		return fmt.Sprintf(format, b.String())
	}
	same := func(text string) func(int) string { return func(int) string { return text } }
	numbered := func(format string) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, i) }
	}
	all := map[string]string{
		"unknown fields":        list(`{"code":"1",%s}`, numbered(`"u%05d":0`), ","),
		"unknown fields, long":  list(`{"code":"1",%s}`, func(i int) string { return fmt.Sprintf(`"%d%s":{}`, i, strings.Repeat("u", 2000)) }, ","),
		"empty files":           list(`{"code":"1","files":[%s]}`, same("{}"), ","),
		"wrong files":           list(`{"code":"1","files":[%s]}`, same(`{"a":1,"b":2}`), ","),
		"numbers for files":     list(`{"code":"1","files":[%s]}`, same("1"), ","),
		"arguments":             list(`{"code":"1","args":[%s]}`, same(`""`), ","),
		"numbers as arguments":  list(`{"code":"1","args":[%s]}`, same(`1`), ","),
		"environment":           list(`{"code":"1","envs":{%s}}`, numbered(`"%d":""`), ","),
		"environment, wrong":    list(`{"code":"1","envs":{%s}}`, numbered(`"%d":1`), ","),
		"metadata":              list(`{"code":"1","metadata":{"a":[%s]}}`, same("[]"), ","),
		"metadata of objects":   list(`{"code":"1","metadata":{"a":[%s]}}`, same(`{"b":1}`), ","),
		"one field again":       list(`{%s}`, same(`"code":""`), ","),
		"deep":                  list(`{"code":"1","metadata":%s}`, same("["), ""),
		"deep objects":          list(`{"code":"1","metadata":%s}`, same(`{"a":`), ""),
		"a list":                list(`[%s]`, same("0"), ","),
		"long code":             list(`{"code":"%s"}`, same("x"), ""),
		"escapes":               list(`{"code":"%s"}`, same(`\u00e9`), ""),
		"halves of characters":  list(`{"code":"%s"}`, same(`\ud800`), ""),
		"blanks":                list(`{"code":"1"%s}`, same(" "), ""),
		"a number":              list(`{"code":"1","timeout":%s}`, same("9"), ""),
		"no JSON":               list(`{"code":"1"%s`, same("\n"), ""),
		"no JSON, one line":     list(`{"code":"%s"?}`, same("é"), ""),
		"one mistake at a file": list(`{"code":"1","files":[{"name":"a","content":"%s","x":1}]}`, same("A"), ""),
		"quotes":                list(`{"code":"%s"}`, same(`\"`), ""),
	}
	batch := map[string]string{
		"batch, empty":          list(`{"jobs":[%s]}`, same("{}"), ","),
		"batch of numbers":      list(`{"jobs":[%s]}`, same("1"), ","),
		"batch, much beside it": list(`{"jobs":[{}],%s}`, numbered(`"u%d":0`), ","),
		"batch of wrong jobs":   list(`{"jobs":[%s]}`, same(`{"u":{},"code":1,"files":[{},{},{},{}]}`), ","),
		"batch of a large job":  list(`{"jobs":[{"code":"1","files":[%s]}]}`, same("{}"), ","),
		"batch of a thousand":   fmt.Sprintf(`{"jobs":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"code":1,"metadata":{"a":["`+strings.Repeat("b", n/1000)+`"]}},`, 1000), ",")),
		"batch, an object":      list(`{"jobs":{%s}}`, numbered(`"u%d":0`), ","),
	}
	maps.Copy(all, batch)
	return all
}

// cost is what a request takes: memory as all that is allocated for it, which is more than it
// ever has at once, and processor time.
type cost struct {
	memory uint64
	cpu    time.Duration
	status int
}

func costOf(serve func() int) cost {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	since := processorTime()
	status := serve()
	used := processorTime() - since
	runtime.ReadMemStats(&after)
	return cost{after.TotalAlloc - before.TotalAlloc, used, status}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// costlySizes are those of what is judged.
func costlySizes() []int {
	if testenv.IsLong() {
		return []int{64 << 10, costlyBytes, 1 << 20, 15 << 20}
	}
	return []int{64 << 10, costlyBytes}
}

// judge finds out what costs too much of what is sent to an API.
type judge struct {
	t          *testing.T
	cfg        parts
	handler    http.Handler
	freeMemory int
	freeCPU    time.Duration
	counts     int // sizes below it are no candidates for the worst
	worst      struct {
		memory, cpu     float64
		memoryOf, cpuOf string
	}
}

// newJudge returns a judge of an API whose store answers with an error to the recording of jobs, or none.
func newJudge(t *testing.T, recording error) *judge {
	t.Helper()
	percent := debug.SetGCPercent(-1)
	j := &judge{t: t, cfg: config(&fakeStore{err: recording}), freeMemory: freeMemory, freeCPU: freeCPU, counts: costlyBytes}
	j.cfg.MaxBodyBytes, j.cfg.Limits.MaxCodeBytes, j.cfg.Limits.MaxInputs, j.cfg.Limits.MaxInputBytes = 32<<20, 32<<20, 100, 32<<20
	j.cfg.Sessions, j.cfg.Files, j.cfg.Blobs = liveSessions{}, endlessRoom{}, noBlobs{}
	j.handler = newAPI(j.cfg)
	j.post("/v1/jobs", `{"code":"1"}`) // what is made once
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		t.Logf("worst: %.1f bytes for a byte (%s), %.0f ns for a byte (%s)", j.worst.memory, j.worst.memoryOf, j.worst.cpu, j.worst.cpuOf)
	})
	return j
}

func (j *judge) serve(req *http.Request) int {
	res := httptest.NewRecorder()
	j.handler.ServeHTTP(res, req)
	return res.Code
}

func (j *judge) post(path, body string) int {
	req := httptest.NewRequestWithContext(j.t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	return j.serve(req)
}

// judge sends n bytes and looks at what that costs.
func (j *judge) judge(name, path string, n int, send func() int) {
	j.t.Helper()
	c := costOf(send)
	perByte := float64(c.memory) / float64(n)
	cpuPerByte := float64(c.cpu) / float64(n)
	if perByte > j.worst.memory && n >= j.counts {
		j.worst.memory, j.worst.memoryOf = perByte, name
	}
	if cpuPerByte > j.worst.cpu && n >= j.counts {
		j.worst.cpu, j.worst.cpuOf = cpuPerByte, name
	}
	if c.memory > uint64(mostMemory*n+j.freeMemory) {
		j.t.Errorf("%s to %s (%d): %d bytes cost %d of memory, %.1f each", name, path, c.status, n, c.memory, perByte)
	}
	testenv.Took(j.t, time.Duration(n)*mostCPU+j.freeCPU, c.cpu)
	if c.status >= http.StatusInternalServerError {
		j.t.Errorf("%s to %s: %d", name, path, c.status)
	}
	j.t.Logf("%-24s %-14s %9d bytes: %d, %5.1f bytes and %6.1f ns each", name, path, n, c.status, perByte, cpuPerByte)
}

// TestCostOfBodies: whatever shape a body has, it costs its size times a small constant.
//
//nolint:paralleltest // it counts what the process allocates
func TestCostOfBodies(t *testing.T) {
	j := newJudge(t, nil)
	sizes := costlySizes()
	for _, n := range sizes {
		for name, body := range shapes(n) {
			path := "/v1/jobs"
			if strings.HasPrefix(name, "batch") {
				path = "/v1/jobs:batch"
			}
			j.judge(name, path, len(body), func() int { return j.post(path, body) })
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20 * len(sizes) {
		path := []string{"/v1/jobs", "/v1/jobs:batch", "/process/interpreter/execute", "/v1/sessions"}[i%4]
		body := randomBody(random, sizes[i%len(sizes)])
		j.judge(fmt.Sprint("random ", i), path, len(body), func() int { return j.post(path, body) })
	}
}

// randomBody repeats a few random pieces of JSON, most of them with known names.
func randomBody(r *rand.Rand, n int) string {
	names := []string{"code", "files", "envs", "metadata", "args", "limits", "jobs", "stdin", "timeout", "x", "y", "queue", strings.Repeat("n", 50)}
	var value func(depth int) string
	value = func(depth int) string {
		switch k := r.IntN(8); {
		case k < 2 && depth < 5:
			var fields []string
			for range r.IntN(4) {
				fields = append(fields, fmt.Sprintf("%q:%s", names[r.IntN(len(names))], value(depth+1)))
			}
			return "{" + strings.Join(fields, ",") + "}"
		case k < 4 && depth < 5:
			var items []string
			for range r.IntN(6) {
				items = append(items, value(depth+1))
			}
			return "[" + strings.Join(items, ",") + "]"
		case k < 5:
			return fmt.Sprintf("%q", strings.Repeat("a\"\u00e9", r.IntN(20)))
		case k < 6:
			return fmt.Sprint(r.IntN(1000))
		}
		return []string{"null", "true", `""`, "{}", "[]"}[r.IntN(5)]
	}
	pieces := make([]string, 1+r.IntN(8))
	for i := range pieces {
		pieces[i] = value(0)
	}
	var items []string
	for size := 0; size < n; {
		item := pieces[r.IntN(len(pieces))]
		items = append(items, item)
		size += len(item) + 1
	}
	all := strings.Join(items, ",")
	return []string{`{"code":"1","files":[` + all + `]}`, `{"jobs":[` + all + `]}`, `{"code":"1","metadata":{"a":[` + all + `]}}`, `{"code":[` + all + `]}`}[r.IntN(4)]
}
