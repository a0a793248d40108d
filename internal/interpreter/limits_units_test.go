package interpreter

import (
	"testing"
)

func TestInUnits(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		512: "512 bytes", 1 << 10: "1 KiB", 512 << 20: "512 MiB", 512<<20 + 1: "512 MiB", 3 << 29: "1.5 GiB", 4096 << 30: "4096 GiB",
	} {
		if got := inUnits(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}
