package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLeasedIsKept: the list is read anew after the time for which it is kept, after a failure, and when it is
// known to be old.
func TestLeasedIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keep = 8 * time.Second
		var l leased
		reads, fails := 0, error(nil)
		all := func() ([]string, error) {
			return l.all(t.Context(), keep, func(context.Context) ([]string, error) {
				reads++
				return []string{"a", "b"}, fails
			})
		}
		fails = errors.New("no Redis")
		if _, err := all(); err == nil || reads != 1 {
			t.Fatalf("%v after %d reads", err, reads)
		}
		fails = nil
		for step, want := range []int{2, 2, 3, 3, 4} {
			members, err := all()
			if err != nil || reads != want || !slices.Equal(members, []string{"a", "b"}) {
				t.Fatalf("step %d: %v, %v after %d reads, want %d", step, members, err, reads, want)
			}
			_ = slices.DeleteFunc(members, func(string) bool { return true }) // its caller may change it
			<-time.After(keep / 2)
			if step == 3 {
				l.forget()
			}
		}
	})
}
