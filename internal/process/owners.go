package process

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// Owners are the users to which sandboxes belong, numbered as in the zygotes' namespaces. Only
// root can have more than one. Then each slot has a user of its own, which no other process on
// the machine has.
type Owners struct {
	first, Host int      // the first user's number: in the zygotes' namespaces, and for this process
	lock        *os.File // locks their range; nil if the lock file could not be opened or locked
	mu          sync.Mutex
	taken       []bool
}

// The users of sandboxes of a runner that is root: container id FirstOwner+i is host id
// hostOwner+i in one of several ranges. The runners of a machine divide the ranges among
// themselves.
const (
	// FirstOwner is the first user's number in the zygotes' user namespace. MaxOwners is the
	// number of users in a range.
	FirstOwner  = 1000
	MaxOwners   = 4096
	hostOwner   = 0x6b610000 // outside the ranges that operating systems assign
	ownerRanges = 256
	// A runner locks the byte at its range's number in this file. The kernel keeps the lock as
	// long as the runner uses the range.
	ownersFile = "/run/kaa-users.lock"
)

// NewOwners takes a range of users, if this process may have one at the level. Otherwise all
// sandboxes belong to the runner's user.
func NewOwners(level sandbox.Level) *Owners {
	// In a container, root may be an ordinary user of the host, with few ids to assign.
	if level == sandbox.None || os.Geteuid() != 0 || !allIDsMapped() {
		return &Owners{}
	}
	number, lock := takeRange(ownersFile)
	o := &Owners{first: FirstOwner, Host: hostOwner + number*MaxOwners, lock: lock, taken: make([]bool, MaxOwners)}
	if level != sandbox.Strict {
		o.first = o.Host // there is no user namespace, so both numbers are the same
	}
	return o
}

// takeRange chooses a range that no other runner has. Runners in different containers cannot see
// each other's locks. There, the random start makes the same choice unlikely.
func takeRange(path string) (int, *os.File) {
	first := rand.IntN(ownerRanges) //nolint:gosec // it need not be secret
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return first, nil
	}
	for i := range ownerRanges {
		number := (first + i) % ownerRanges
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(number), Len: 1}
		if unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &lock) == nil {
			return number, file
		}
	}
	_ = file.Close()
	return first, nil
}

// Release makes the range available to other runners. No slot may use a user of it any more.
func (o *Owners) Release() {
	if o.lock != nil {
		_ = o.lock.Close()
	}
}

// allIDsMapped reports whether this process is in the initial user namespace, or in one that
// maps all ids of the ranges.
func allIDsMapped() bool {
	for _, path := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		var inside, outside, size int64
		if _, err := fmt.Sscan(string(text), &inside, &outside, &size); err != nil || inside != 0 || size < hostOwner+ownerRanges*MaxOwners {
			return false
		}
	}
	return true
}

// Many reports whether slots have users of their own.
func (o *Owners) Many() bool { return len(o.taken) > 0 }

// Take returns a user that no other slot has; or 0, which is the runner's own user.
func (o *Owners) Take() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.taken {
		if !o.taken[i] {
			o.taken[i] = true
			return o.first + i
		}
	}
	return 0
}

// HostID returns an owner's number in this process's user namespace; 0 is its own user.
func (o *Owners) HostID(owner int) int {
	if owner == 0 {
		return 0
	}
	return owner - o.first + o.Host
}

// GiveBack makes a user from Take available again.
func (o *Owners) GiveBack(owner int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := owner - o.first; owner != 0 && i >= 0 && i < len(o.taken) {
		o.taken[i] = false
	}
}
