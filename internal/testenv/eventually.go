package testenv

import (
	"testing"
	"time"
)

// Timeout is the time for which Eventually tries: far longer than any condition takes on a
// machine with ten times its load. A test that fails by time alone proves nothing.
const Timeout = 3 * time.Minute

// Eventually waits until ok holds, and fails the test if it does not in time; what
// names it.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	const longest = 25 * time.Millisecond // between two looks: many are calls to a Kaa, and other tests need the processors
	deadline := time.After(Timeout)
	for wait := 2 * time.Millisecond; !ok(); wait = min(wait+wait/2, longest) {
		select {
		case <-deadline:
			tb.Fatalf("not within %s: %s", Timeout, what)
		case <-time.After(wait):
		}
	}
}

// Within checks a promise about time: exactly in the long run, which has the machine for itself,
// and otherwise only that nothing hangs.
func Within(tb testing.TB, most time.Duration, since time.Time) {
	tb.Helper()
	Took(tb, most, time.Since(since))
}

// Took is Within for an operation that is over already.
func Took(tb testing.TB, most, took time.Duration) {
	tb.Helper()
	if !IsLong() {
		most = 10*most + time.Minute
	}
	if took > most {
		tb.Errorf("took %s, may take %s", took, most)
	}
}
