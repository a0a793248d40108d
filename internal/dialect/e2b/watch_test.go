package e2b

import (
	"strconv"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/service"
)

// TestWatchersAreBounded: a tenant leaves room for the watchers of others, and events that nobody asks for take little.
func TestWatchersAreBounded(t *testing.T) {
	t.Parallel()
	var all watchers
	take := func(tenant string, n int) bool {
		return all.take(tenant+strconv.Itoa(n), &watcher{of: target{caller: service.Caller{Tenant: tenant}}}, func() {})
	}
	for n := range mostOfCaller {
		if !take("acme", n) {
			t.Fatalf("watcher %d of a tenant is refused", n)
		}
	}
	if take("acme", mostOfCaller) {
		t.Error("a tenant has more watchers than it may")
	}
	if !take("rival", 0) {
		t.Error("another tenant has no room")
	}
	for _, w := range all.all {
		w.idle.Stop()
	}
	long := strings.Repeat("x", 4000)
	for _, e := range []fileEvent{{Name: long, Entry: &entryInfo{Path: long}}, {Entry: &entryInfo{Metadata: map[string]string{"key": long}}}} {
		var w watcher
		for range mostWatched {
			w.add(e)
		}
		if w.bytes > mostWatchedBytes || len(w.events) == 0 || len(w.events) > mostWatchedBytes/len(long) {
			t.Errorf("%d events wait with %d bytes", len(w.events), w.bytes)
		}
	}
}
