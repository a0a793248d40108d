package interpreter

import (
	"testing"
	"time"
)

// TestKernelLimit: the watchdog comes first, and knows why it ends the code.
func TestKernelLimit(t *testing.T) {
	t.Parallel()
	for own, want := range map[time.Duration]int64{10 * time.Millisecond: 2, time.Second: 3, 8 * time.Second: 10, time.Hour: 4051} {
		if got := kernelLimit(own); got != want {
			t.Errorf("%s: %d s, want %d", own, got, want)
		}
	}
}

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
