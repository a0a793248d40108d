package chaos_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// seenWithin is the promise: the owner sees the end of a job so soon after the fault
// that ended it, or after the end itself.
const seenWithin = 15 * time.Second

// run is one start of a job's code, as its marks tell.
type run struct {
	n          string
	start, end time.Time // end is zero if the code was cut off
}

// readMarks returns the runs of each job, in the order of their starts.
func readMarks(tb testing.TB, path string) map[string][]*run {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	runs := map[string][]*run{}
	for line := range strings.Lines(string(text)) {
		var what, key, n string
		var at float64
		if _, err := fmt.Sscanf(line, "%s %s %s %f", &what, &key, &n, &at); err != nil {
			tb.Fatalf("mark %q: %v", line, err)
		}
		when := time.UnixMilli(int64(at * 1000))
		if what == "S" {
			runs[key] = append(runs[key], &run{n: n, start: when})
			continue
		}
		for _, r := range runs[key] {
			if r.n == n {
				r.end = when
			}
		}
	}
	return runs
}

// report counts what the checks found.
type report struct {
	tb       testing.TB
	ends     map[string]int
	problems map[string]int
	delays   []delay
	slowest  delay // of all jobs, from acceptance to the end, less what the code slept
}

type delay struct {
	took time.Duration // from the fault, or the end, to its being seen
	what string
}

func (r *report) problem(kind, format string, args ...any) {
	if r.problems[kind]++; r.problems[kind] <= 5 {
		r.tb.Errorf(kind+": "+format, args...)
	}
}

// check compares what callers saw with what the code did.
func (c *cluster) check(tasks []*task, runs map[string][]*run) *report {
	r := &report{tb: c.tb, ends: map[string]int{}, problems: map[string]int{}}
	ids := c.runnerIDs()
	for _, t := range tasks {
		started := runs[t.key]
		if len(started) > t.maxAttempts {
			r.problem("started too often", "%s (%s) %d times of %d: %+v", t.key, t.id, len(started), t.maxAttempts, t.end)
		}
		if t.id == "" && t.err == nil {
			r.ends["not accepted"]++
			continue
		}
		if t.err != nil {
			r.problem("lost", "%s (%s): %v", t.key, t.id, t.err)
			continue
		}
		r.ends[end(t)]++
		if took := t.seen.Sub(t.accepted) - t.delay - t.sleep; took > r.slowest.took {
			r.slowest = delay{took, fmt.Sprintf("%s (%s) %s, attempt %d of %d", t.key, t.id, end(t), t.end.Attempt, t.maxAttempts)}
		}
		r.checkEnd(t, started)
		r.checkDelay(c, ids[t.end.Runner], t, started)
	}
	slices.SortFunc(r.delays, func(a, b delay) int { return int(b.took - a.took) })
	return r
}

func end(t *task) string {
	if t.end.Failure != nil {
		return t.end.State + " " + t.end.Failure.Code
	}
	return t.end.State
}

func (r *report) checkEnd(t *task, started []*run) {
	v := t.end
	if len(started) > v.Attempt {
		r.problem("more starts than attempts", "%s (%s): %d of %d", t.key, t.id, len(started), v.Attempt)
	}
	switch v.State {
	case "completed":
		i := -1
		if v.Result != nil {
			i = slices.IndexFunc(started, func(s *run) bool { return s.n == strings.TrimSpace(v.Result.Stdout) })
		}
		if v.Result == nil || v.Result.Status != "ok" || i < 0 || started[i].end.IsZero() {
			r.problem("wrong result", "%s (%s): %+v; runs %v", t.key, t.id, v.Result, started)
		} else if i != len(started)-1 {
			r.problem("result of an older run", "%s (%s): run %d of %d", t.key, t.id, i+1, len(started))
		}
	case "cancelled":
		if !t.cancelled {
			r.problem("cancelled by nobody", "%s (%s): %+v", t.key, t.id, v.Failure)
		}
	case "failed":
		if v.Failure == nil || (v.Failure.Code != "runner_lost" && v.Failure.Code != "drained") {
			r.problem("unexpected failure", "%s (%s): %+v", t.key, t.id, v.Failure)
		} else if v.Attempt != t.maxAttempts {
			r.problem("failed with attempts left", "%s (%s): %d of %d", t.key, t.id, v.Attempt, t.maxAttempts)
		}
	}
}

// checkDelay measures from the end of the code, or from the fault of its runner; or
// from the end of a fault of Redis in between, during which nobody could see anything.
func (r *report) checkDelay(c *cluster, runner *process, t *task, started []*run) {
	var since time.Time
	var why string
	switch {
	case t.end.State == "completed" && len(started) > 0:
		since, why = started[len(started)-1].end, "completed"
	case t.end.State == "failed" && t.end.Failure.Code == "runner_lost" && runner != nil:
		for _, w := range append(runner.away.list(), runner.cut.list()...) {
			if w.from.Before(t.end.FinishedAt) && w.from.After(since) {
				since = w.from
			}
		}
		if why = "runner lost"; since.Before(t.end.FinishedAt.Add(-time.Minute)) {
			r.problem("written off alive", "%s (%s) of %s at %s", t.key, t.id, runner.name, t.end.FinishedAt.Format("15:04:05.0"))
		}
	}
	if since.IsZero() {
		return
	}
	if since.Before(t.accepted) {
		since = t.accepted // it could not be polled before
	}
	ways := slices.Concat(c.down.list())
	if runner != nil && why == "completed" {
		ways = append(ways, runner.cut.list()...)
		ways = append(ways, runner.away.list()...)
	}
	if why == "runner lost" {
		ways = append(ways, c.unwatched()...)
	}
	for _, w := range ways {
		// A window that was open at some time since then puts off the promise.
		if w.from.Before(t.seen) && w.to.After(since) {
			if w.to.Before(t.seen) {
				since = w.to
			} else {
				since = t.seen
			}
		}
	}
	took := t.seen.Sub(since)
	r.delays = append(r.delays, delay{took, fmt.Sprintf("%s %s (%s) seen %s", why, t.key, t.id, t.seen.Format("15:04:05.0"))})
	if took > seenWithin {
		r.problem("seen late", "%s %s (%s): %s after the fault; finished %s, seen %s", why, t.key, t.id, took,
			t.end.FinishedAt.Format("15:04:05.0"), t.seen.UTC().Format("15:04:05.0"))
	}
}

// graceOfLooks is the time that a process must have reached Redis before it writes runners off
// (rescueGrace in internal/runner).
const graceOfLooks = 8 * time.Second

// unwatched returns the times at which no process could write a lost runner off: each of them
// was dead, frozen, starting or cut off, or had been less than graceOfLooks before.
func (c *cluster) unwatched() []window {
	var all []window
	for i, p := range c.processes() {
		var blind []window
		for _, w := range append(p.away.list(), p.cut.list()...) {
			if w.to.IsZero() {
				w.to = time.Now()
			}
			blind = append(blind, window{w.from, w.to.Add(graceOfLooks)})
		}
		if i == 0 {
			all = blind
			continue
		}
		var both []window
		for _, a := range all {
			for _, b := range blind {
				if a.from.Before(b.to) && b.from.Before(a.to) {
					both = append(both, window{latest(a.from, b.from), earliest(a.to, b.to)})
				}
			}
		}
		all = both
	}
	slices.SortFunc(all, func(a, b window) int { return a.from.Compare(b.from) })
	return all
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// print writes the figures to the test's log.
func (r *report) print(statuses map[string]int) {
	for _, m := range []map[string]int{r.ends, statuses, r.problems} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			r.tb.Logf("%7d %s", m[k], k)
		}
		r.tb.Log("")
	}
	if len(r.delays) > 0 {
		r.tb.Logf("slowest job: %s %s", r.slowest.took.Round(time.Millisecond), r.slowest.what)
		r.tb.Logf("seen after the fault or the end: worst %s, p99 %s, p50 %s", r.delays[0].took.Round(time.Millisecond),
			r.delays[len(r.delays)/100].took.Round(time.Millisecond), r.delays[len(r.delays)/2].took.Round(time.Millisecond))
		for _, d := range r.delays[:min(5, len(r.delays))] {
			r.tb.Logf("  %s %s", d.took.Round(time.Millisecond), d.what)
		}
	}
}
