package testenv

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy is a TCP proxy that a test can make fail: the network between a client and
// Redis.
type Proxy struct {
	Addr string // what the client connects to

	target string
	lis    net.Listener
	wg     sync.WaitGroup
	delay  atomic.Int64 // before each piece of an answer
	mute   atomic.Bool  // subscriptions carry nothing
	pieces atomic.Int64 // of answers that were let through
	mu     sync.Mutex
	cut    bool
	conns  map[net.Conn]struct{}
}

// NewProxy starts a proxy to target; it ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	lis, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("testenv: proxy: %v", err)
	}
	p := &Proxy{Addr: lis.Addr().String(), target: target, lis: lis, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		_ = lis.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Cut breaks every connection and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.breakAll()
}

// Reset breaks every connection and lets new ones through.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breakAll()
}

func (p *Proxy) breakAll() {
	for conn := range p.conns {
		// Without lingering the other side sees a reset, not an orderly end.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Answered returns how many pieces of answers have come through. A test that breaks connections
// again and again by it, and not by time alone, lets a machine with much load get on, too.
func (p *Proxy) Answered() int64 { return p.pieces.Load() }

// Heal takes back every fault.
func (p *Proxy) Heal() {
	p.delay.Store(0)
	p.mute.Store(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Delay makes answers late by d.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// MuteSubscriptions loses every message to a subscriber; its connection stays.
func (p *Proxy) MuteSubscriptions() { p.mute.Store(true) }

// UnmuteSubscriptions lets them carry later messages.
func (p *Proxy) UnmuteSubscriptions() { p.mute.Store(false) }

func (p *Proxy) accept() {
	for {
		client, err := p.lis.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.remember(client) {
		return
	}
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	defer p.forget(server)
	if !p.remember(server) {
		return
	}
	var subscribed atomic.Bool
	p.wg.Go(func() {
		defer p.forget(server)
		copyEach(server, client, func(piece []byte) bool {
			if bytes.Contains(piece, []byte("\r\nsubscribe\r\n")) {
				subscribed.Store(true)
			}
			return true
		})
	})
	copyEach(client, server, func([]byte) bool {
		if d := time.Duration(p.delay.Load()); d > 0 {
			<-time.After(d)
		}
		p.pieces.Add(1)
		return !subscribed.Load() || !p.mute.Load()
	})
}

// copyEach copies the pieces that pass lets through, until one side ends.
func copyEach(to, from net.Conn, pass func([]byte) bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && pass(buffer[:n]) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// remember reports false when the proxy is cut.
func (p *Proxy) remember(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = struct{}{}
	return !p.cut
}

func (p *Proxy) forget(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}
