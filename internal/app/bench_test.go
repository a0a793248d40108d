package app_test

import (
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// idle is how long a benchmark waits between calls for the system to be idle: the
// pool has filled up again and the runner is parked.
const idle = 60 * time.Millisecond

// pickUpBudget is what the median job may wait on an idle system with a real Redis.
const pickUpBudget = 5 * time.Millisecond

// BenchmarkPickUp measures how long a job waits on an idle system, from its record
// to its claim, by Redis's clock, which counts milliseconds. It fails above the
// budget.
func BenchmarkPickUp(b *testing.B) {
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	var waits []time.Duration
	for b.Loop() {
		<-time.After(idle)
		end := k.await(k.submit(fields{"code": "pass"}))
		created, err1 := time.Parse(time.RFC3339, end.str("createdAt"))
		started, err2 := time.Parse(time.RFC3339, end.str("startedAt"))
		if err1 != nil || err2 != nil || end.str("state") != "completed" {
			b.Fatal(end.raw)
		}
		waits = append(waits, started.Sub(created))
	}
	report(b, "", waits)
	if median := waits[len(waits)/2]; len(waits) >= 10 && median >= pickUpBudget {
		b.Errorf("half of %d jobs waited %s or more, want less than %s", len(waits), median, pickUpBudget)
	}
}

// BenchmarkExecute measures synchronous calls of one caller, and next to them, in the
// same run, a bare interpreter that prints the same: one after the other, and on a system
// that was idle before each.
func BenchmarkExecute(b *testing.B) {
	for name, pause := range map[string]time.Duration{"steady": 0, "idle": idle} {
		b.Run(name, func(b *testing.B) {
			const turn = 20
			k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
			var calls, spawns []time.Duration
			for b.Loop() {
				for range turn {
					<-time.After(pause)
					at := time.Now()
					a := k.call(http.MethodPost, executePath, fields{"code": "print(42)"})
					calls = append(calls, time.Since(at))
					if a.str("stdout") != "42\n" {
						b.Fatal(a.raw)
					}
				}
				for range turn {
					<-time.After(pause)
					at := time.Now()
					if out, err := exec.CommandContext(b.Context(), testenv.SystemPython(), "-I", "-c", "print(42)").Output(); err != nil || string(out) != "42\n" {
						b.Fatal(err)
					}
					spawns = append(spawns, time.Since(at))
				}
			}
			report(b, "call-", calls)
			report(b, "spawn-", spawns)
			slices.Sort(calls)
			slices.Sort(spawns)
			b.ReportMetric(float64(calls[len(calls)/2])/float64(spawns[len(spawns)/2]), "call/spawn")
		})
	}
}

// sessionBudget is what the median execution in a warm session may take.
const sessionBudget = 1500 * time.Microsecond

// BenchmarkList measures a page of the usual size, and beside it one job.
func BenchmarkList(b *testing.B) {
	k := start(b, 0, "KAA_LOG_LEVEL=ERROR")
	var id string
	for range 100 {
		id = k.submit(fields{"code": "print(42)", "metadata": fields{"number": 1}})
	}
	for name, path := range map[string]string{"page": "/v1/jobs?limit=50", "one": "/v1/jobs/" + id} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				at := time.Now()
				if a := k.call(http.MethodGet, path, nil); a.status != http.StatusOK {
					b.Fatal(a.raw)
				}
				took = append(took, time.Since(at))
			}
			report(b, "", took)
		})
	}
}

// BenchmarkSession measures synchronous calls in one session, one after the other. It
// fails above the budget.
func BenchmarkSession(b *testing.B) {
	benchmarkSession(b, "x = 0")
}

// BenchmarkSessionFiles is the same in a session that has files, which are looked through
// after each execution.
func BenchmarkSessionFiles(b *testing.B) {
	benchmarkSession(b, "x = 0\nfor i in range(20): open(f'file{i}.csv', 'w').write('a,b')")
}

func benchmarkSession(b *testing.B, begin string) {
	b.Helper()
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	id := k.open(nil)
	k.in(id, begin)
	var calls []time.Duration
	for b.Loop() {
		at := time.Now()
		a := k.call(http.MethodPost, executePath, fields{"code": "x += 1\nprint(x)", "sessionId": id})
		calls = append(calls, time.Since(at))
		if a.str("status") != "ok" {
			b.Fatal(a.raw)
		}
	}
	report(b, "", calls)
	if median := calls[len(calls)/2]; len(calls) >= 10 && median >= sessionBudget {
		b.Errorf("half of %d executions took %s or more, want less than %s", len(calls), median, sessionBudget)
	}
}

// BenchmarkCommand measures commands of a warm session, in turns with executions in it, with executions in fresh sandboxes, and with
// the same program started without Kaa.
func BenchmarkCommand(b *testing.B) {
	const turn = 10
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	id := k.open(nil)
	k.in(id, "x = 0")
	kinds := []struct {
		name string
		do   func()
	}{
		{"argv-", func() { k.command(id, fields{"argv": []string{"true"}}) }},
		{"line-", func() { k.command(id, fields{"command": "true"}) }},
		{"session-", func() { k.in(id, "x += 1") }},
		{"execution-", func() { k.execute(fields{"code": "pass"}) }},
		{"spawn-", func() {
			if err := exec.CommandContext(b.Context(), "true").Run(); err != nil {
				b.Error(err)
			}
		}},
	}
	kinds[0].do() // the first one makes the process that starts them
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, kind := range kinds {
			for range turn {
				at := time.Now()
				kind.do()
				took[kind.name] = append(took[kind.name], time.Since(at))
			}
		}
	}
	for _, kind := range kinds {
		report(b, kind.name, took[kind.name]) // sorts
	}
	half := len(took["argv-"]) / 2
	b.ReportMetric(float64(took["argv-"][half])/float64(took["execution-"][half]), "argv/execution")
}

// BenchmarkTerminalEcho measures how long a key takes to a shell in a terminal and back.
func BenchmarkTerminalEcho(b *testing.B) {
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	a := k.startAttached(k.open(nil), fields{
		"argv": []string{"bash", "--norc", "-i"}, "terminal": fields{"columns": 80, "rows": 24}, "envs": fields{"PS1": "> ", "TERM": "xterm"},
	})
	a.sees("> ")
	keys := []string{"a", "\x7f"} // and back
	var calls []time.Duration
	for b.Loop() {
		at := time.Now()
		a.send(keys[len(calls)%len(keys)])
		if !a.next() {
			b.Fatal(a.err)
		}
		calls = append(calls, time.Since(at))
	}
	report(b, "", calls)
}

// BenchmarkThroughput measures 32 callers at once, who keep their connections as clients do,
// and in the same run, in turns with them, bare interpreters spawned on all cores.
func BenchmarkThroughput(b *testing.B) {
	const callers, share = 32, 200
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	k.client.Transport = &http.Transport{MaxIdleConnsPerHost: callers}
	var calls, spawns time.Duration
	n := 0
	for b.Loop() {
		undo := app.ShareProcessors() // as in runner and dev
		calls += together(callers, share, func() {
			if a := k.call(http.MethodPost, executePath, fields{"code": "print(42)"}); a.str("stdout") != "42\n" {
				b.Error(a.raw)
			}
		})
		undo()
		spawns += together(2*runtime.NumCPU(), share, func() {
			if out, err := exec.CommandContext(b.Context(), testenv.SystemPython(), "-I", "-c", "print(42)").Output(); err != nil || string(out) != "42\n" {
				b.Error(err)
			}
		})
		n += share
	}
	b.ReportMetric(float64(n)/calls.Seconds(), "calls/s")
	b.ReportMetric(float64(n)/spawns.Seconds(), "spawns/s")
	b.ReportMetric(spawns.Seconds()/calls.Seconds(), "calls/spawns")
}

// together runs f n times on some goroutines and returns how long it took.
func together(goroutines, n int, f func()) time.Duration {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	began := time.Now()
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				f()
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

func report(b *testing.B, name string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	ms := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(ms(0.5), name+"p50-ms")
	b.ReportMetric(ms(0.99), name+"p99-ms")
}

// BenchmarkNumpy compares a program that uses numpy and pandas, preloaded, with one
// that prints a number; with the same interpreter on an idle system, in turn.
func BenchmarkNumpy(b *testing.B) {
	path := os.Getenv("KAA_BENCH_PYTHON")
	if path == "" {
		b.Skip("KAA_BENCH_PYTHON names no interpreter with numpy and pandas")
	}
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_RUNTIMES=plain="+path+";preloaded="+path+":numpy,pandas")
	const program = `
import numpy as np
import pandas as pd
frame = pd.DataFrame({"group": np.arange(1000) % 10, "value": np.arange(1000.0)})
print(frame.groupby("group").value.mean().sum(), np.linalg.norm(np.ones((50, 50))))
`
	kinds := []struct{ name, runtime, code, want string }{
		{"plain-", "plain", "print(42)", "42\n"},
		{"preloaded-plain-", "preloaded", "print(42)", "42\n"},
		{"import-", "preloaded", "import numpy, pandas; print(numpy.arange(3).sum(), len(pandas.Series([1, 2])))", "3 2\n"},
		{"numpy-", "preloaded", program, "4995.0 50.0\n"},
	}
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, kind := range kinds {
			<-time.After(2 * idle)
			at := time.Now()
			a := k.call(http.MethodPost, executePath, fields{"code": kind.code, "runtime": kind.runtime})
			took[kind.name] = append(took[kind.name], time.Since(at))
			if a.str("stdout") != kind.want {
				b.Fatal(a.raw)
			}
		}
	}
	for _, kind := range kinds {
		report(b, kind.name, took[kind.name]) // sorts
	}
	half := len(took["plain-"]) / 2
	b.ReportMetric(float64(took["numpy-"][half])/float64(took["plain-"][half]), "numpy/plain")
	b.ReportMetric(float64(took["import-"][half])/float64(took["plain-"][half]), "import/plain")
	b.ReportMetric(float64(took["numpy-"][half])/float64(took["preloaded-plain-"][half]), "numpy/preloaded-plain")
}

// BenchmarkPreloaded compares, with print(42), a runtime that preloads numpy and pandas with
// one of the same interpreter that does not, in turns: one caller in a closed loop, then 32.
func BenchmarkPreloaded(b *testing.B) {
	path := os.Getenv("KAA_BENCH_PYTHON")
	if path == "" {
		b.Skip("KAA_BENCH_PYTHON names no interpreter with numpy and pandas")
	}
	const callers, share = 32, 200
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_RUNTIMES=plain="+path+";preloaded="+path+":numpy,pandas")
	k.client.Transport = &http.Transport{MaxIdleConnsPerHost: callers}
	runtimes := []string{"plain", "preloaded"}
	one, many := map[string][]time.Duration{}, map[string]time.Duration{}
	for b.Loop() {
		for _, name := range runtimes {
			call := func() {
				a := k.call(http.MethodPost, executePath, fields{"code": "print(42)", "runtime": name})
				if a.str("stdout") != "42\n" {
					b.Error(a.raw)
				}
			}
			<-time.After(2 * idle)
			for range callers {
				at := time.Now()
				call()
				one[name] = append(one[name], time.Since(at))
			}
			many[name] += together(callers, share, call)
		}
	}
	for _, name := range runtimes {
		report(b, name+"-", one[name]) // sorts
	}
	half := len(one["plain"]) / 2
	b.ReportMetric(float64(one["preloaded"][half])/float64(one["plain"][half]), "preloaded/plain")
	b.ReportMetric(many["plain"].Seconds()/many["preloaded"].Seconds(), "preloaded/plain-throughput")
}

// forkBudget is what the fork of a session with 100 MB may take.
const forkBudget = 50 * time.Millisecond

// BenchmarkFork measures how long the fork of a session takes that holds 100 MB, with the
// first execution in the copy. It fails above the budget.
func BenchmarkFork(b *testing.B) {
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	id := k.open(nil)
	k.in(id, "import array\nx = array.array('d', range(1000)) * 12500\nprint(len(x))")
	var calls []time.Duration
	for b.Loop() {
		at := time.Now()
		copied := k.fork(id, 1)[0]
		calls = append(calls, time.Since(at))
		if out := k.in(copied, "x[0] += 1\nprint(len(x) * x.itemsize, x[0])"); out != "100000000 1.0\n" {
			b.Fatal(out)
		}
		k.call(http.MethodDelete, sessionsPath+"/"+copied, nil)
	}
	report(b, "", calls)
	if median := calls[len(calls)/2]; median > forkBudget {
		b.Errorf("half of %d forks took %s or more, want less than %s", len(calls), median, forkBudget)
	}
}
