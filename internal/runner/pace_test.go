package runner

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: the time for files grows only with the bytes that are moved.
func TestPace(t *testing.T) {
	t.Parallel()
	for moved, want := range map[int]time.Duration{0: keepTime, slowestMove: keepTime + time.Second, 32 * slowestMove: keepTime + 32*time.Second} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel, pace := paced(t.Context(), keepTime)
			defer cancel()
			time.Sleep(keepTime / 2)
			if n, err := io.Copy(io.Discard, pace.of(strings.NewReader(strings.Repeat("x", moved)))); int(n) != moved || err != nil {
				t.Errorf("read %d bytes of %d: %v", n, moved, err)
			}
			<-ctx.Done()
			// The time of a byte is rounded down to nanoseconds.
			if took := time.Since(began); took > want || took < want-want/100 {
				t.Errorf("over after %s, want %s", took, want)
			}
		})
	}
}
