package interpreter

import (
	"path/filepath"
	"testing"
)

// Runners that see each other's locks have users of their own.
func TestRangesOfOwners(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	taken := map[int]*owners{}
	for range ownerRanges {
		number, lock := takeRange(path)
		if lock == nil || taken[number] != nil || number < 0 || number >= ownerRanges {
			t.Fatalf("range %d, lock %v, after %d others", number, lock, len(taken))
		}
		taken[number] = &owners{lock: lock}
	}
	if number, lock := takeRange(path); lock != nil {
		t.Errorf("range %d was taken twice", number)
	}
	const again = 17
	taken[again].release()
	delete(taken, again)
	number, lock := takeRange(path)
	if lock == nil || number != again {
		t.Errorf("range %d, lock %v, where %d is free", number, lock, again)
	}
	taken[number] = &owners{lock: lock}
	for _, o := range taken {
		o.release()
	}
}

// Where nothing can be locked there is a range all the same.
func TestRangeWithoutLock(t *testing.T) {
	t.Parallel()
	if number, lock := takeRange(filepath.Join(t.TempDir(), "none", "lock")); lock != nil || number < 0 || number >= ownerRanges {
		t.Errorf("range %d, lock %v", number, lock)
	}
}

// A user has one number in the sandbox and another one outside.
func TestNumbersOfOwners(t *testing.T) {
	t.Parallel()
	o := &owners{first: firstOwner, host: hostOwner + 3*maxOwners, taken: make([]bool, maxOwners)}
	one, two := o.take(), o.take()
	if one != firstOwner || two != firstOwner+1 || o.hostID(two) != hostOwner+3*maxOwners+1 || o.hostID(0) != 0 {
		t.Errorf("%d, %d, outside %#x and %d", one, two, o.hostID(two), o.hostID(0))
	}
	o.giveBack(one)
	if again := o.take(); again != one {
		t.Errorf("%d after %d was given back", again, one)
	}
}
