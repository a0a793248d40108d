package app_test

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	// assets are what a page asks for, and browserConnections how many of them a browser asks for at once.
	assets             = 50
	browserConnections = 6
)

// BenchmarkPort measures a request to a server in a session, beside it an execution in the same session, and a page with its assets.
func BenchmarkPort(b *testing.B) {
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR", "KAA_CONCURRENCY=4")
	session, at := k.serving(portServer)
	get := func() time.Duration {
		began := time.Now()
		if a := k.call(http.MethodGet, at+"asset", nil); a.status != http.StatusOK {
			b.Error(a.raw)
		}
		return time.Since(began)
	}
	var gets, executions, pages []time.Duration
	for b.Loop() {
		for range 20 {
			gets = append(gets, get())
			began := time.Now()
			k.in(session, "pass")
			executions = append(executions, time.Since(began))
		}
		began := time.Now()
		next := make(chan struct{}, assets)
		for range assets {
			next <- struct{}{}
		}
		close(next)
		var all sync.WaitGroup
		for range browserConnections {
			all.Go(func() {
				for range next {
					get()
				}
			})
		}
		all.Wait()
		pages = append(pages, time.Since(began))
	}
	report(b, "get-", gets)
	report(b, "execution-", executions)
	report(b, "page-", pages)
}
