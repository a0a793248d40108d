package egress_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
)

// requestWays are those on which requests are passed on: as they are, and looked into.
func requestWays() map[string]struct {
	change  func(*egress.Config)
	network job.Network
} {
	return map[string]struct {
		change  func(*egress.Config)
		network job.Network
	}{
		"plain":       {func(*egress.Config) {}, job.Network{Allow: []string{"*:*"}}},
		"intercepted": {lookingInto, anyRequest()},
	}
}

// TestIdleRequests: a request that has begun, and its answer, have a clock: who sends nothing more, or takes nothing more, loses the connection,
// and its place is free again.
func TestIdleRequests(t *testing.T) {
	t.Parallel()
	const head, upgraded = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for name, test := range map[string]struct {
		request string // of a client
		answers string // of the destination, which says nothing more
		endless bool   // but sends without end
		reads   string // what the client reads: all, head, or nothing
	}{
		"half an answer":            {"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", head + "half", false, "all"},
		"an answer without length":  {"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhalf", false, "all"},
		"an upgrade":                {"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", upgraded, false, "all"},
		"an upgrade nobody reads":   {"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", upgraded, true, "head"},
		"an answer nobody reads":    {"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", true, "head"},
		"half a body":               {"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\nhalf", "", false, "all"},
		"half a body, nothing read": {"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\nhalf", "", false, "nothing"},
		"a body nobody takes":       {"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000), deaf, false, "all"},
	} {
		for way, of := range requestWays() {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					gate := answeringGate(func(c *egress.Config) { of.change(c); c.Connections = 1 }, func(c net.Conn) { answerHalf(c, test.answers, test.endless) })
					l := newPipes()
					d := gate.Open(l, of.network, "idle")
					defer d.Close()
					c := l.dial()
					defer c.Close()
					began := time.Now()
					sent := make(chan error, 1)
					go func() {
						_, err := io.WriteString(c, test.request)
						sent <- err
					}()
					switch test.reads {
					case "all":
						_, _ = io.Copy(io.Discard, c) // ends
						if took := time.Since(began); took < 15*time.Minute || took > 16*time.Minute {
							t.Errorf("it took %s", took)
						}
					case "head":
						if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(17 * time.Minute)
					if err := <-sent; err != nil && !errors.Is(err, io.ErrClosedPipe) {
						t.Error(err)
					}
					synctest.Wait()
					next := l.dial() // it has the one place now
					defer next.Close()
					defer time.Sleep(time.Hour) // until the destination has gone
					if line, err := ask(next, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 400") {
						t.Errorf("the next connection: %q, %v", line, err)
					}
				})
			})
		}
	}
}

// deaf is a destination that neither reads nor answers.
const deaf = "deaf"

// answerHalf is a destination: it reads a request's header, and its body if it has nothing to say before; then it begins an answer.
func answerHalf(c net.Conn, answer string, endless bool) {
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	switch answer {
	case "":
		_, _ = io.Copy(io.Discard, r.Body)
		return
	case deaf:
		time.Sleep(time.Hour)
		return
	}
	_, err = io.WriteString(c, answer)
	if endless {
		// ReverseProxy flushes once, in a goroutine that waits for the lock that it holds while it writes. A write that the client does not read
		// would keep that goroutine waiting, and no time passes in a bubble while one waits for a lock.
		time.Sleep(time.Second)
	}
	for endless && err == nil {
		_, err = c.Write(make([]byte, 32<<10))
	}
	for err == nil {
		_, err = in.ReadByte()
	}
}

// TestSlowRequests: a body and an answer of which a part comes now and then go on, however long they take. Of a body of known length the
// transport collects 4 KiB before it sends them.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	const part, parts = 4 << 10, 20
	for _, sends := range []bool{true, false} {
		for way, of := range requestWays() {
			t.Run(fmt.Sprintf("sends %v, %s", sends, way), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					slowly := func(w io.Writer) {
						for range parts {
							time.Sleep(10 * time.Minute)
							if _, err := io.WriteString(w, strings.Repeat("x", part)); err != nil {
								t.Error(err)
								return
							}
						}
					}
					gate := answeringGate(of.change, func(c net.Conn) {
						r, err := http.ReadRequest(bufio.NewReader(c))
						if err != nil {
							return
						}
						got, _ := io.ReadAll(r.Body)
						_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", part*parts)
						if sends {
							_, _ = c.Write(got)
						} else {
							slowly(c)
						}
					})
					l := newPipes()
					d := gate.Open(l, of.network, "slow")
					defer d.Close()
					c := l.dial()
					defer c.Close()
					go func() {
						if sends {
							_, _ = fmt.Fprintf(c, "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", part*parts)
							slowly(c)
						} else {
							_, _ = io.WriteString(c, "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
						}
					}()
					a, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					if body, err := io.ReadAll(a.Body); string(body) != strings.Repeat("x", part*parts) || err != nil {
						t.Errorf("%d bytes, %v", len(body), err)
					}
				})
			})
		}
	}
}
