package testenv

import (
	"os"
	"testing"
)

// Plain is the value of KAA_PLAIN, or "false": tests that start a runner or an interpreter give it
// that, so that the suites can be run without tricks as well.
func Plain() string {
	if v := os.Getenv("KAA_PLAIN"); v != "" {
		return v
	}
	return "false"
}

// Tricky skips a test of a trick's gain if KAA_PLAIN switches tricks off.
func Tricky(tb testing.TB) {
	tb.Helper()
	if Plain() != "false" {
		tb.Skip("it is about what KAA_PLAIN switches off")
	}
}
