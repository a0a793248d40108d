package process

import (
	"path/filepath"
	"testing"
)

// Runners that see each other's locks have users of their own.
//
//nolint:paralleltest // a process that another test forks has the locks until it executes a program
func TestRangesOfOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	taken := map[int]*Owners{}
	for range ownerRanges {
		number, lock := takeRange(path)
		if lock == nil || taken[number] != nil || number < 0 || number >= ownerRanges {
			t.Fatalf("range %d, lock %v, after %d others", number, lock, len(taken))
		}
		taken[number] = &Owners{lock: lock}
	}
	if number, lock := takeRange(path); lock != nil {
		t.Errorf("range %d was taken twice", number)
	}
	const again = 17
	taken[again].Release()
	delete(taken, again)
	number, lock := takeRange(path)
	if lock == nil || number != again {
		t.Errorf("range %d, lock %v, where %d is free", number, lock, again)
	}
	taken[number] = &Owners{lock: lock}
	for _, o := range taken {
		o.Release()
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
	o := &Owners{first: FirstOwner, Host: hostOwner + 3*MaxOwners, taken: make([]bool, MaxOwners)}
	one, two := o.Take(), o.Take()
	if one != FirstOwner || two != FirstOwner+1 || o.HostID(two) != hostOwner+3*MaxOwners+1 || o.HostID(0) != 0 {
		t.Errorf("%d, %d, outside %#x and %d", one, two, o.HostID(two), o.HostID(0))
	}
	o.GiveBack(one)
	if again := o.Take(); again != one {
		t.Errorf("%d after %d was given back", again, one)
	}
}
