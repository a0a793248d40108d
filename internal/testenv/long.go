package testenv

import (
	"os"
	"testing"
)

// Long skips a test that takes minutes unless KAA_TEST_LONG is set, as it is for
// make test-long.
func Long(tb testing.TB) {
	tb.Helper()
	if !IsLong() {
		tb.Skip("takes minutes: make test-long runs it")
	}
}

// IsLong reports whether KAA_TEST_LONG is set: the machine does nothing else then, so that times
// can be judged.
func IsLong() bool { return os.Getenv("KAA_TEST_LONG") != "" }

// Slow skips a test that takes seconds of a processor, or only waits, in `make quick`.
func Slow(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("make quick leaves it out")
	}
}
