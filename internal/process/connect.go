package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Connect connects a fresh TCP socket of another network with a port of its loopback. It takes the file over. An error of the system, such as
// unix.ECONNREFUSED, is in the result's chain.
func Connect(ctx context.Context, file *os.File, family, port int) (*net.TCPConn, error) {
	conn, begun, err := beginConnect(file, loopback(family, port))
	_ = file.Close()
	if err != nil {
		return nil, fmt.Errorf("connect with port %d: %w", port, err)
	}
	if !begun {
		return conn, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	err = awaitConnect(conn)
	if !stop() {
		err = ctx.Err() // the deadline in the past stays
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect with port %d: %w", port, err)
	}
	return conn, nil
}

func loopback(family, port int) unix.Sockaddr {
	if family == unix.AF_INET6 {
		return &unix.SockaddrInet6{Port: port, Addr: [16]byte(net.IPv6loopback)}
	}
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

// beginConnect returns a connection that may only have begun: its server has no room for it yet.
func beginConnect(file *os.File, to unix.Sockaddr) (conn *net.TCPConn, begun bool, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, false, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if failed = unix.SetNonblock(int(fd), true); failed == nil {
			failed = unix.Connect(int(fd), to)
		}
	}); err != nil {
		return nil, false, err
	}
	if begun = errors.Is(failed, unix.EINPROGRESS) || errors.Is(failed, unix.EINTR); failed != nil && !begun {
		return nil, false, failed
	}
	c, err := net.FileConn(file) // duplicates the descriptor
	if err != nil {
		return nil, false, err
	}
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return nil, false, errors.Join(errors.New("this is no socket of TCP"), c.Close())
	}
	return conn, begun, nil
}

// awaitConnect waits until the connection is there, or its deadline for writing has come.
func awaitConnect(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		number, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			failed = err
		case number != 0:
			failed = unix.Errno(number)
		default:
			_, err = unix.Getpeername(int(fd)) // fails as long as there is no connection
			return err == nil
		}
		return true
	})
	return errors.Join(err, failed)
}
