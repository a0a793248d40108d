package testenv

import (
	"testing"
	"time"
)

// Patience is how long Eventually tries: far longer than anything takes on a machine that
// does ten times as much as it can. A test that would fail by time alone says nothing.
const Patience = 3 * time.Minute

// Eventually waits until ok holds, and fails the test if it does not in time; what
// names it.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			tb.Fatalf("not within %s: %s", Patience, what)
		case <-tick.C:
		}
	}
}

// Within checks a promise about time: exactly in the long run, which has the machine for
// itself, and else only that nothing has hung.
func Within(tb testing.TB, most time.Duration, since time.Time) {
	tb.Helper()
	Took(tb, most, time.Since(since))
}

// Took is Within for what is over already.
func Took(tb testing.TB, most, took time.Duration) {
	tb.Helper()
	if !IsLong() {
		most = 10*most + time.Minute
	}
	if took > most {
		tb.Errorf("took %s, may take %s", took, most)
	}
}
