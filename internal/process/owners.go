package process

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// Owners are the users that sandboxes belong to, as the zygotes' namespaces number
// them. Only root can have more than one: then each slot has its own, which no
// other process on the machine has.
type Owners struct {
	first, Host int      // the numbers of the first of them, there and for this process
	lock        *os.File // of their range; nil if nothing could be locked
	mu          sync.Mutex
	taken       []bool
}

// The users of sandboxes of a runner that is root: container id firstOwner+i is
// Host id hostOwner+i of one of several ranges, which runners of a machine divide among
// themselves.
const (
	FirstOwner  = 1000
	MaxOwners   = 4096
	hostOwner   = 0x6b610000 // out of the way of the ranges that systems give out
	ownerRanges = 256
	// The byte that has a range's number is locked in this file, by the kernel, for as long as
	// the range is used.
	ownersFile = "/run/kaa-users.lock"
)

// NewOwners takes a range of users, if this process may have one at the level.
func NewOwners(level sandbox.Level) *Owners {
	// In a container root may be an ordinary user of the host, with few ids to give.
	if level == sandbox.None || os.Geteuid() != 0 || !allIDsMapped() {
		return &Owners{}
	}
	number, lock := takeRange(ownersFile)
	o := &Owners{first: FirstOwner, Host: hostOwner + number*MaxOwners, lock: lock, taken: make([]bool, MaxOwners)}
	if level != sandbox.Strict {
		o.first = o.Host // there is no namespace in between
	}
	return o
}

// takeRange chooses a range that no other runner has. Where they cannot see each other's
// locks, as in containers, chance keeps them apart.
func takeRange(path string) (int, *os.File) {
	first := rand.IntN(ownerRanges) //nolint:gosec // nobody gains by guessing it
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

// Release lets others have the range. No slot has any of it.
func (o *Owners) Release() {
	if o.lock != nil {
		_ = o.lock.Close()
	}
}

// allIDsMapped reports whether this process is in the first user namespace, or in one
// that has all of its ids.
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

// Take returns a user that no other slot has, or 0: the runner's own.
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

// HostID returns the number by which this process knows an owner; 0 is its own user.
func (o *Owners) HostID(owner int) int {
	if owner == 0 {
		return 0
	}
	return owner - o.first + o.Host
}

// GiveBack returns a user that Take has given.
func (o *Owners) GiveBack(owner int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := owner - o.first; owner != 0 && i >= 0 && i < len(o.taken) {
		o.taken[i] = false
	}
}
