package oidc

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/access"
)

// verified remembers the grants of tokens by the digests of these.
type verified struct {
	most   int
	mu     sync.RWMutex
	grants map[[sha256.Size]byte]*access.Grant
}

func (v *verified) get(sum [sha256.Size]byte) *access.Grant {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.grants[sum]
}

func (v *verified) drop(sum [sha256.Size]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.grants, sum)
}

// put adds a grant. If there are too many, those that are no longer valid go, or else any tenth: their tokens
// are only judged again.
func (v *verified) put(sum [sha256.Size]byte, g *access.Grant, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grants == nil {
		v.grants = map[[sha256.Size]byte]*access.Grant{}
	}
	if len(v.grants) >= v.most {
		v.thin(now)
	}
	v.grants[sum] = g
}

func (v *verified) thin(now time.Time) {
	for sum, g := range v.grants {
		if g.Check(now) != nil {
			delete(v.grants, sum)
		}
	}
	goal := v.most - v.most/10 - 1
	for sum := range v.grants {
		if len(v.grants) <= goal {
			return
		}
		delete(v.grants, sum)
	}
}
