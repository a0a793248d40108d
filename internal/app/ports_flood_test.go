package app_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// patientServer has one thread. It answers no request for /silent, and says how many of those wait.
const patientServer = `
import asyncio
waiting = 0
async def serve(reader, writer):
    global waiting
    line = await reader.readline()
    while (await reader.readline()).strip(): pass
    if b' /silent ' in line:
        waiting += 1
        await reader.read()
        waiting -= 1
    else:
        text = str(waiting).encode()
        writer.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' % (len(text), text))
    writer.close()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 8000, backlog=1000)
    await server.serve_forever()
asyncio.run(main())
`

// TestPortFlood: a session has 100 connections to its ports at once. Each more is refused before anything is started for it, other sessions are served
// meanwhile, and it is served again when some have ended.
func TestPortFlood(t *testing.T) {
	t.Parallel()
	const most, flood, callers = 100, 1000, 10
	k := start(t, 1, "KAA_MAX_SYNC_WAITS=1000", "KAA_LOG_LEVEL=ERROR")
	session, at := k.serving(patientServer)
	_, beside := k.serving(patientServer)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var held sync.WaitGroup
	hold := func(n int) {
		for range n {
			held.Go(func() {
				for ctx.Err() == nil { // until it is not refused
					_, _ = k.try(ctx, http.MethodGet, at+"silent", nil)
				}
			})
		}
	}
	hold(most - 1)
	testenv.Eventually(t, "all but one to be held", func() bool { return k.call(http.MethodGet, at+"waiting", nil).raw == strconv.Itoa(most-1) })
	hold(1)
	testenv.Eventually(t, "the last one to be held", func() bool { return k.call(http.MethodGet, at+"waiting", nil).str("code") == "too_many_sockets" })
	commands := func() int {
		return strings.Count(k.call(http.MethodGet, sessionsPath+"/"+session+"/commands", nil).raw, `"id":`)
	}
	testenv.Eventually(t, "a command for each", func() bool { return commands() == most })
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range flood / callers {
				if a := k.call(http.MethodGet, at, nil); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_sockets" {
					t.Errorf("one more: %d %s", a.status, a.raw)
					return
				}
			}
		})
	}
	if a := k.call(http.MethodGet, beside+"x", nil); a.status != http.StatusOK {
		t.Errorf("another session: %d %s", a.status, a.raw)
	}
	all.Wait()
	if n := commands(); n != most {
		t.Errorf("something was started for what is refused: %d commands", n)
	}
	cancel()
	held.Wait()
	testenv.Eventually(t, "all to have ended inside", func() bool { return k.call(http.MethodGet, at+"waiting", nil).raw == "0" })
}
