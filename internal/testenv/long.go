package testenv

import (
	"os"
	"testing"
)

// Long skips a test that takes minutes unless KAA_TEST_LONG is set, as it is for
// make test-long.
func Long(tb testing.TB) {
	tb.Helper()
	if os.Getenv("KAA_TEST_LONG") == "" {
		tb.Skip("takes minutes: make test-long runs it")
	}
}
