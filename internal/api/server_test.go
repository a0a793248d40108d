package api

import "testing"

func TestBatchesAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		processors, goUses int
		want               int
	}{
		{"all processors", 8, 8, 4},
		{"with interpreters", 8, 4, 4},
		{"with interpreters, an odd number", 5, 3, 2},
		{"a cgroup's limit", 64, 2, 2},
		{"one processor", 1, 1, 1},
	} {
		if got := batchesAtOnce(tt.processors, tt.goUses); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
