package testenv

import (
	"testing"
	"time"
)

// patience is how long Eventually tries; generous, because the machines that run
// tests are slow and shared.
const patience = 20 * time.Second

// Eventually waits until ok holds, and fails the test if it does not in time; what
// names it.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			tb.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}
