package egress_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
)

// The ways to a destination that the benchmarks compare.
var ways = []string{"direct", "connect", "socks"}

// reach connects to a port of this machine, directly or through a proxy.
func reach(tb testing.TB, way, proxy, port string) net.Conn {
	tb.Helper()
	to := proxy
	if way == "direct" {
		to = "127.0.0.1:" + port
	}
	c, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
	if err != nil {
		tb.Fatal(err)
	}
	answer, request := "", ""
	switch way {
	case "connect":
		request, answer = "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"
	case "socks":
		n, _ := strconv.Atoi(port)
		request, answer = "\x05\x01\x00\x05\x01\x00\x03\x09a.example"+string([]byte{byte(n >> 8), byte(n)}), "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	}
	if _, err := io.WriteString(c, request); err != nil {
		tb.Fatal(err)
	}
	if got := make([]byte, len(answer)); len(got) > 0 {
		if _, err := io.ReadFull(c, got); err != nil || string(got) != answer {
			tb.Fatalf("%q, %v", got, err)
		}
	}
	return c
}

// benchmarkDoor opens a door without limits.
func benchmarkDoor(b *testing.B) string {
	b.Helper()
	all, err := job.ParseNetworkRules([]string{"*:*"})
	if err != nil {
		b.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	gate := egress.New(egress.Config{Allow: all, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Lookup: lookup})
	d := gate.Open(l, job.Network{Allow: []string{"a.example:*"}}, "sandbox")
	b.Cleanup(d.Close)
	return l.Addr().String()
}

// serve handles each connection of a port of this machine with f, until the end of the benchmark.
func serve(b *testing.B, f func(net.Conn)) (port string) {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// processor returns the processor time of this process, which says more than the clock where the machine has other work. Both ends of a
// connection and the proxy are in it.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportProcessor adds the processor time of an operation.
func reportProcessor(b *testing.B, since time.Duration) {
	b.Helper()
	b.ReportMetric(float64((processor(b)-since).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkThroughput: bytes that come through one connection, in pieces of 1 MiB. docs/architecture/network.md has figures.
func BenchmarkThroughput(b *testing.B) {
	const piece = 1 << 20
	port := serve(b, func(c net.Conn) {
		zeros := make([]byte, 1<<18)
		for err := error(nil); err == nil; {
			_, err = c.Write(zeros)
		}
	})
	proxy := benchmarkDoor(b)
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			c := reach(b, way, proxy, port)
			defer c.Close()
			buffer := make([]byte, piece)
			b.SetBytes(piece)
			began := processor(b)
			for b.Loop() {
				if _, err := io.ReadFull(c, buffer); err != nil {
					b.Fatal(err)
				}
			}
			reportProcessor(b, began)
		})
	}
}

// BenchmarkDownload: a body of HTTP without a tunnel.
func BenchmarkDownload(b *testing.B) {
	const size = 64 << 20
	port := serve(b, func(c net.Conn) {
		zeros := make([]byte, 1<<18)
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		for sent := 0; sent < size && err == nil; sent += len(zeros) {
			_, err = c.Write(zeros)
		}
	})
	proxy := benchmarkDoor(b)
	for way, to := range map[string]string{"direct": "127.0.0.1:" + port, "proxy": proxy} {
		b.Run(way, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				c, err := new(net.Dialer).DialContext(b.Context(), "tcp", to)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.WriteString(c, "GET http://a.example:"+port+"/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<18)); n < size {
					b.Fatal(n, err)
				}
				_ = c.Close()
			}
		})
	}
}

// BenchmarkConnection: the time of a connection until its first byte has come back.
func BenchmarkConnection(b *testing.B) {
	port := serve(b, func(c net.Conn) { _, _ = io.Copy(c, c) })
	proxy := benchmarkDoor(b)
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			one := make([]byte, 1)
			began := processor(b)
			for b.Loop() {
				c := reach(b, way, proxy, port)
				if _, err := io.Copy(c, strings.NewReader("x")); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, one); err != nil {
					b.Fatal(err)
				}
				_ = c.Close()
			}
			reportProcessor(b, began)
		})
	}
}
