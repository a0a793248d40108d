package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// failingListener fails a number of times before each connection.
type failingListener struct {
	net.Listener
	failures int
	left     int
	closed   atomic.Bool
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.closed.Load() {
		return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
	}
	if l.left == 0 {
		l.left = l.failures
		conn, _ := net.Pipe()
		return conn, nil
	}
	l.left--
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ENOSPC)}
}

func (l *failingListener) Addr() net.Addr { return &net.TCPAddr{} }
func (l *failingListener) Close() error   { l.closed.Store(true); return nil }

func TestAcceptGoesOn(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]struct {
		took  time.Duration
		lines int
	}{
		0:  {0, 0},
		3:  {35 * time.Millisecond, 1},
		8:  {1275 * time.Millisecond, 1},
		10: {3275 * time.Millisecond, 1},
		20: {13275 * time.Millisecond, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			l := newLastingListener(&failingListener{failures: failures, left: failures}, slog.New(slog.NewTextHandler(&log, nil)))
			begin := time.Now()
			conn, err := l.Accept()
			if err != nil || conn == nil || time.Since(begin) != want.took {
				t.Errorf("after %d failures: %v, %v in %s, want a connection in %s", failures, conn, err, time.Since(begin), want.took)
			}
			if lines := strings.Count(log.String(), "\n"); lines != want.lines {
				t.Errorf("%d lines for %d failures, want %d:\n%s", lines, failures, want.lines, log.String())
			}
			begin = time.Now()
			if _, err := l.Accept(); err != nil || time.Since(begin) != want.took {
				t.Errorf("the next connection: %v in %s, want the same again", err, time.Since(begin))
			}
		})
	}
}

func TestAcceptEndsWithItsListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLastingListener(&failingListener{failures: 1 << 20, left: 1 << 20}, slog.New(slog.DiscardHandler))
		begin := time.Now()
		time.AfterFunc(10*time.Second+time.Millisecond, func() { _ = l.Close() })
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) || time.Since(begin) != 10*time.Second+time.Millisecond {
			t.Errorf("closed in a pause: %v after %s", err, time.Since(begin))
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed before: %v", err)
		}
		_ = l.Close()
	})
}

// TestListen: it is what the servers use.
func TestListen(t *testing.T) {
	t.Parallel()
	lis, err := listen(t.Context(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	if _, ok := lis.(*lastingListener); !ok {
		t.Errorf("listens with a %T", lis)
	}
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for name, option := range map[string]struct{ level, name, want int }{
		"a peer that vanishes while it is idle":  {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"the time until it is asked":             {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSeconds},
		"a peer that vanishes during an answer":  {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(mostSilence.Milliseconds())},
		"the bytes of an answer that are unsent": {unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent},
	} {
		if got := socketOption(t, conn, option.level, option.name); got != option.want {
			t.Errorf("a connection does not inherit the option for %s: %d", name, got)
		}
	}
	if _, err := listen(context.Background(), lis.Addr().String(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("listens twice at one address")
	}
}

func socketOption(t *testing.T, conn net.Conn, level, name int) (value int) {
	t.Helper()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("accepts a %T", conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) { value, optErr = unix.GetsockoptInt(int(fd), level, name) }); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
	return value
}
