package service_test

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

// TestInTime: a message may take long as long as it comes.
func TestInTime(t *testing.T) {
	t.Parallel()
	const patience = 30 * time.Second
	for name, c := range map[string]struct {
		piece    int
		each     time.Duration
		pieces   int
		late     bool
		atLeast  time.Duration
		notAfter time.Duration
	}{
		"a large one that comes steadily": {256 << 10, 20 * time.Second, 20, false, 400 * time.Second, 400 * time.Second},
		"nothing":                         {0, 0, 0, true, patience, patience},
		"a byte now and then":             {1, 20 * time.Second, 20, true, patience, patience + time.Second},
		"a pause":                         {256 << 10, 40 * time.Second, 2, true, patience, patience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				from, to := io.Pipe()
				began, over := time.Now(), time.Duration(0)
				r, stop := service.InTime(from, patience, func() {
					over = time.Since(began)
					_ = to.Close() // which looks like the end of the message
				})
				var sender sync.WaitGroup
				sender.Go(func() {
					for range c.pieces {
						time.Sleep(c.each)
						if _, err := to.Write(make([]byte, c.piece)); err != nil {
							return
						}
					}
					if c.pieces > 0 {
						_ = to.Close()
					}
				})
				_, err := io.Copy(io.Discard, r)
				stop()
				took := time.Since(began)
				if late := err != nil; late != c.late || late && took != over || took < c.atLeast || took > c.notAfter {
					t.Errorf("late %v after %s, %v", late, took, err)
				}
				sender.Wait()
			})
		})
	}
}
