package store_test

import (
	"testing"

	"github.com/kaa-run/kaa/internal/store"
)

// BenchmarkNew: each process pays it at its start, and so does each test.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		store.New(nil, store.Config{})
	}
}
