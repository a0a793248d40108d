// Package escape_test runs hostile programs in real executions of a real Kaa, at
// each sandbox level, and checks that they got nothing and left nothing behind.
// README.md lists them. One program at one level, and what it tried:
//
//	go test ./test/escape -run 'TestEscape/strict/sys-mount$' -escape.verbose -v
//
// To see that the programs are not toothless, run them without a sandbox, on a
// machine that nobody needs:
//
//	go test ./test/escape -run TestEscape -escape.levels none
package escape_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

var (
	levels  = flag.String("escape.levels", "strict,basic", "sandbox levels to test, of strict, basic and none")
	verbose = flag.Bool("escape.verbose", false, "log what the programs tried and got")
	update  = flag.Bool("escape.update", false, "write the table of README.md")
)

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		os.Exit(serve())
	}
	os.Exit(testenv.Main(m))
}

func TestEscape(t *testing.T) { //nolint:paralleltest // the cases would disturb each other's clocks
	cases := load(t)
	for level := range strings.SplitSeq(*levels, ",") { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) { testLevel(t, level, cases) })
	}
}

// testedLevels are those that a test of few cases runs at: the first one, in make test-long all.
func testedLevels() []string {
	all := strings.Split(*levels, ",")
	if testenv.IsLong() {
		return all
	}
	return all[:1]
}

// sampled are the cases of a level: all at the first, and of a further one each fifth but in make test-long.
// The levels share the code of slots, and most of what they forbid.
func sampled(level string, cases []escapeCase) []escapeCase {
	if first, _, _ := strings.Cut(*levels, ","); testenv.IsLong() || level == first {
		return cases
	}
	var few []escapeCase
	for i := 0; i < len(cases); i += 5 {
		few = append(few, cases[i])
	}
	return few
}

func testLevel(t *testing.T, level string, cases []escapeCase) {
	t.Helper()
	mountsBefore := hostMounts()
	o := newOutside(t)
	k := startKaa(t, level, o.secret)
	if got := k.level(t); got != level {
		t.Fatalf("Kaa runs at level %s, want %s\n%s", got, level, k.logs)
	}
	k.warmUp(t)
	before := k.settled(t)
	v := k.startVictim(t)
	suite := &suite{kaa: k, level: level, outside: o, hints: hints(t, k, level, o, v)}
	for _, c := range sampled(level, cases) {
		t.Run(c.name, func(t *testing.T) { suite.run(t, c) })
	}

	// Nothing has changed: not for the victim, not outside, not in Kaa.
	if last := v.end(t, k); last != "INTACT" && level != "none" {
		t.Errorf("the victim says %s", last)
	}
	if level != "none" {
		o.check(t)
	}
	eventually(t, "everything is as before", func() string { return before.difference(k.take()) })
	if left := leftFiles(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	members := family(k.pid)
	k.stop(t)
	eventually(t, "all processes of Kaa have ended", func() string {
		all := processes()
		return fmt.Sprint(slices.DeleteFunc(slices.Clone(members), func(p process) bool { return !slices.Contains(all, p) }))[1:]
	})
	eventually(t, "no control group is left", func() string { return strings.Join(k.cgroups(), " ") })
	if entries, err := os.ReadDir(k.workDir); err != nil || len(entries) > 0 {
		t.Errorf("the work directory holds %v, %v", entries, err)
	}
	if mountsBefore != hostMounts() {
		t.Errorf("mounts before:\n%safter:\n%s", mountsBefore, hostMounts())
	}
}

// suite is what the cases of a level share.
type suite struct {
	kaa     *kaa
	level   string
	outside *outside
	hints   string
}

func (s *suite) run(t *testing.T, c escapeCase) {
	t.Helper()
	group, _, _ := strings.Cut(c.name, "-")
	memory := s.kaa.highWater()
	neighbour := func(*testing.T) {}
	if group == "bomb" {
		neighbour = s.kaa.neighbour(t.Context())
	}
	start := time.Now()
	r, err := s.kaa.execute(t.Context(), c.request(s.level, s.hints))
	took := time.Since(start)
	neighbour(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.kaa.logs)
	}
	if *verbose {
		t.Logf("%s\n%s", took.Round(time.Millisecond), r)
	}
	s.judge(t, c, r)
	testenv.Took(t, c.longest(), took)
	if !eventually(t, "no process is left", func() string { return clip(strings.Join(runaways(), "; "), 500) }) {
		endRunaways()
	}
	const grown = 128 << 20 // with the race detector, which is generous
	if now := s.kaa.highWater(); now-memory > grown && (group == "bomb" || group == "proto") {
		t.Errorf("Kaa's memory grew from %d to %d MB", memory>>20, now>>20)
	}
}

// judge compares how the case ended with what the level promises.
func (s *suite) judge(t *testing.T, c escapeCase, r result) {
	t.Helper()
	verdict := r.verdict()
	switch {
	case s.level == "none" && c.unsandboxed == "":
		if verdict == "" {
			t.Errorf("says nothing of an escape although there is no sandbox, so it tests nothing\n%s", r)
		}
	case s.level == "none" && strings.HasPrefix(c.unsandboxed, "either"), !c.protected(s.level):
		if verdict == "" && !c.matches(r) {
			t.Errorf("want %s, or an escape\n%s", c.wanted(), r)
		}
	case verdict != "":
		t.Errorf("%s\n%s", verdict, r)
	case !c.matches(r):
		t.Errorf("want %s\n%s", c.wanted(), r)
	}
}

// warmUp lets Kaa open what it keeps open from then on: it makes as many slots as it
// ever needed at once, and opens the directory of kept files with the first of them.
func (k *kaa) warmUp(t *testing.T) {
	t.Helper()
	if r, err := k.execute(t.Context(), map[string]any{"code": "print(42, file=open('kept', 'w'))"}); err != nil || r.Status != "ok" {
		t.Errorf("%s, %v", r, err)
	}
	const together, each = 16, 10
	errs := make([]error, together)
	var wg sync.WaitGroup
	for i := range together {
		wg.Go(func() {
			for range each {
				r, err := k.execute(t.Context(), map[string]any{"code": "print(42)"})
				if err == nil && r.Stdout != "42\n" {
					err = fmt.Errorf("%s", r)
				}
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// neighbour runs harmless executions until the returned function is called, which
// fails the test if they noticed anything.
func (k *kaa) neighbour(ctx context.Context) func(*testing.T) {
	ctx, cancel := context.WithCancel(ctx)
	var worst time.Duration
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && failed == nil {
			start := time.Now()
			// Not ctx: this one is to end by itself.
			r, err := k.execute(context.WithoutCancel(ctx), map[string]any{"code": "print(sum(range(1000)))", "timeout": 20})
			if err == nil && (r.Status != "ok" || r.Stdout != "499500\n") {
				err = fmt.Errorf("%s", r)
			}
			failed = err
			worst = max(worst, time.Since(start))
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func(t *testing.T) {
		t.Helper()
		cancel()
		<-done
		if failed != nil {
			t.Errorf("an execution beside it: %v", failed)
		}
		testenv.Took(t, 5*time.Second, worst)
	}
}

// eventually waits until problem returns nothing, and fails the test with what it
// last returned. It reports whether it did not.
func eventually(t *testing.T, what string, problem func() string) bool {
	t.Helper()
	deadline := time.Now().Add(testenv.Timeout)
	for {
		text := problem()
		if strings.Trim(text, "[] ") == "" {
			return true
		}
		if time.Now().After(deadline) {
			t.Errorf("not within %s: %s: %s", testenv.Timeout, what, text)
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
