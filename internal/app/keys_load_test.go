package app_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// inForce is within what time a new key is accepted, and a revoked one refused, at every process.
const inForce = 5 * time.Second

// rotated is a key that callers use until it is replaced.
type rotated struct {
	id, secret string
	inUse      sync.WaitGroup // calls that were begun while it was current
}

// rotation has callers with two keys of a tenant at several API processes, one of which is replaced again and again.
type rotation struct {
	*kaa
	urls    []string
	steady  string
	mu      sync.Mutex
	current *rotated
	calls   atomic.Int64
	failed  atomic.Pointer[string] // the first call that failed with a valid key
}

// take returns the key to use now; the caller says done when its call has ended.
func (r *rotation) take() *rotated {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.inUse.Add(1)
	return r.current
}

func (r *rotation) replace(by *rotated) (before *rotated) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, r.current = r.current, by
	return before
}

func (r *rotation) with(url, secret string) *kaa {
	k := *r.kaa
	k.url, k.key = url, secret
	return &k
}

// made returns a new key that all processes accept.
func (r *rotation) made(t *testing.T, admin *kaa) *rotated {
	t.Helper()
	a := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme", "scopes": []string{"execute", "read"}})
	begun := time.Now()
	for _, url := range r.urls {
		testenv.Eventually(t, "a new key is accepted", r.with(url, a.str("key")).accepted)
	}
	testenv.Within(t, inForce, begun)
	return &rotated{id: a.str("id"), secret: a.str("key")}
}

// call makes calls with valid keys at one process until ctx ends.
func (r *rotation) call(ctx context.Context, url string, steady bool) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		key, done := r.steady, func() {}
		if !steady {
			current := r.take()
			key, done = current.secret, current.inUse.Done
		}
		method, path, body := http.MethodGet, "/v1/jobs?limit=1", any(nil)
		if n%10 == 0 {
			method, path, body = http.MethodPost, "/process/interpreter/execute", fields{"code": "40+2"}
		}
		a, err := r.with(url, key).try(context.WithoutCancel(ctx), method, path, body)
		done()
		r.calls.Add(1)
		if err != nil || a.status != http.StatusOK {
			text := fmt.Sprintf("%s %s: %d %s %v", method, path, a.status, a.raw, err)
			r.failed.CompareAndSwap(nil, &text)
		}
	}
}

// TestKeysRotatedUnderLoad: keys are made, used in place of others and revoked while callers of several processes work. No
// call with a valid key fails, and none with a revoked key is accepted 5 s later, or after it was refused once.
func TestKeysRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	rounds := 3
	if testenv.IsLong() {
		rounds = 100
	}
	k := start(t, 1, "KAA_ADMIN_KEYS="+adminOfTests)
	r := &rotation{kaa: k, urls: []string{k.url}}
	for range 2 {
		addr, _ := k.run(app.RunAPI)
		r.urls = append(r.urls, "http://"+addr.String())
	}
	admin := k.as(adminOfTests)
	r.steady, r.current = r.made(t, admin).secret, r.made(t, admin)
	ctx, end := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for _, url := range r.urls {
		callers.Go(func() { r.call(ctx, url, true) })
		callers.Go(func() { r.call(ctx, url, false) })
	}
	var revoked []string
	for range rounds {
		before := r.replace(r.made(t, admin))
		before.inUse.Wait() // a call that is under way when its key is revoked ends with it
		if a := admin.call(http.MethodDelete, "/v1/keys/"+before.id, nil); a.status != http.StatusNoContent {
			t.Fatalf("revoke: %d %s", a.status, a.raw)
		}
		begun := time.Now()
		for _, url := range r.urls {
			testenv.Eventually(t, "a revoked key is refused", func() bool { return !r.with(url, before.secret).accepted() })
		}
		testenv.Within(t, inForce, begun)
		revoked = append(revoked, before.secret)
		for _, url := range r.urls {
			for _, secret := range revoked {
				if a := r.with(url, secret).call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusUnauthorized {
					t.Errorf("a revoked key at %s, after it was refused: %d %s", url, a.status, a.raw)
				}
			}
		}
	}
	end()
	callers.Wait()
	if failed := r.failed.Load(); failed != nil {
		t.Errorf("a call with a valid key failed: %s", *failed)
	}
	t.Logf("%d calls at %d processes while %d keys were replaced", r.calls.Load(), len(r.urls), rounds)
}
