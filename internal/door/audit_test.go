package door

import (
	"testing"
	"time"
)

// TestKeylessCalls: calls without a valid key cannot fill the audit log, and it says how many it left out.
func TestKeylessCalls(t *testing.T) {
	t.Parallel()
	var s keyless
	at := time.Unix(1000, 0)
	for i := range keylessLogged + 7 {
		if passes, leftOut := s.pass(at); passes != (i < keylessLogged) || leftOut != 0 {
			t.Fatalf("call %d: %v, %d", i, passes, leftOut)
		}
	}
	if passes, leftOut := s.pass(at.Add(time.Second)); !passes || leftOut != 7 {
		t.Errorf("in the next second: %v, %d", passes, leftOut)
	}
	if passes, leftOut := s.pass(at.Add(time.Second)); !passes || leftOut != 0 {
		t.Errorf("after that: %v, %d", passes, leftOut)
	}
}
