package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstAcceptPause doubles with each failure in a row, up to mostAcceptPause.
	firstAcceptPause = 5 * time.Millisecond
	mostAcceptPause  = time.Second
	// acceptReports is the least time between two log lines about failures.
	acceptReports = 5 * time.Second
)

// mostUnsent bounds the bytes of an answer that the kernel buffers before it can send them.
// Without it the kernel may buffer megabytes. A slow reader then seems to take nothing until most
// of them are sent, and streams give up. Bytes that were sent but not acknowledged do not count, so
// the bound does not slow connections down.
const mostUnsent = 64 << 10

// mostSilence is how long a peer may leave sent bytes unacknowledged. By then the peer has vanished
// without closing the connection. The kernel's own limit is a quarter of an hour.
const mostSilence = time.Minute

// keepAlive asks a silent peer after as many seconds, as often, and this many times, as package net
// does.
const (
	keepAliveSeconds = 15
	keepAliveProbes  = 9
)

// listen is net.Listen for TCP. Its listener ends only when it is closed.
func listen(ctx context.Context, addr string, log *slog.Logger) (net.Listener, error) {
	// Connections inherit the options. KeepAlive is off because package net would set its options
	// for each connection, with four system calls.
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) { err = setOptions(int(fd)) })
		return errors.Join(controlErr, err)
	}}
	lis, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what and where
	}
	return newLastingListener(lis, log), nil
}

func setOptions(fd int) error {
	return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(mostSilence.Milliseconds())),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSeconds),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveSeconds),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes))
}

// lastingListener continues after a connection could not be accepted. net/http continues only
// after the few errors that package net calls temporary. ENOSPC is not among them. Executed code
// can cause ENOSPC if the runner's user is not root: it can use up that user's share of epoll
// watches (fs.epoll.max_user_watches). The error must not end the process.
type lastingListener struct {
	net.Listener
	log       *slog.Logger
	closed    chan struct{}
	closeOnce sync.Once

	mu       sync.Mutex
	reported time.Time
	failures int // since reported
}

func newLastingListener(lis net.Listener, log *slog.Logger) *lastingListener {
	return &lastingListener{Listener: lis, log: log, closed: make(chan struct{})}
}

// Accept fails only once the listener is closed.
func (l *lastingListener) Accept() (net.Conn, error) {
	for pause := firstAcceptPause; ; pause = min(2*pause, mostAcceptPause) {
		conn, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err //nolint:wrapcheck // net/http compares it
		}
		l.report(err)
		select {
		case <-time.After(pause):
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close ends Accept, too.
func (l *lastingListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close() //nolint:wrapcheck // nothing to add
}

func (l *lastingListener) report(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	if !l.reported.IsZero() && time.Since(l.reported) < acceptReports {
		return
	}
	l.log.Error("cannot accept a connection, trying again", slog.String("addr", l.Addr().String()),
		slog.Any("err", err), slog.Int("failures", l.failures))
	l.reported, l.failures = time.Now(), 0
}
