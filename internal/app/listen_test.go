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
	if _, err := listen(context.Background(), lis.Addr().String(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("listens twice at one address")
	}
}
