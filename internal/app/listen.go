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
	// acceptReports is how often failures are logged at most.
	acceptReports = 5 * time.Second
)

// mostUnsent is how many bytes the kernel takes of an answer before they can be sent. Else it
// may be megabytes, and whoever reads slowly seems to take nothing until most of them have gone:
// streams give up then. What is on its way is not among them, so it makes nothing slower.
const mostUnsent = 64 << 10

// mostSilence is how long a peer may acknowledge nothing of what was sent. It has gone without a
// word then, and the kernel would go on for a quarter of an hour.
const mostSilence = time.Minute

// listen is net.Listen for TCP, with a listener that only ends when it is closed.
func listen(ctx context.Context, addr string, log *slog.Logger) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) {
			// Connections inherit these.
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(mostSilence.Milliseconds())))
		})
		return errors.Join(controlErr, err)
	}}
	lis, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what and where
	}
	return newLastingListener(lis, log), nil
}

// lastingListener goes on when a connection cannot be accepted. net/http does so for the
// few errors that the net package calls temporary, and gives up at the others. One of them is
// ENOSPC: executed code can use up what the kernel lets one user wait for at a time
// (fs.epoll.max_user_watches), which is the runner's user if that is not root. That must not
// end the process.
type lastingListener struct {
	net.Listener
	log       *slog.Logger
	closed    chan struct{}
	closeOnce sync.Once

	mu       sync.Mutex
	reported time.Time
	failures int // since then
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
