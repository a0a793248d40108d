package interpreter

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// newControl and newPipe make descriptors that no child inherits by accident.
//
// newControl makes the socket pair between us and a worker. Theirs gets a name of the
// kernel's choice: it is of our network, where the code could else take any abstract name
// that is free, and a socket gets no second one. The name is good for nothing, since nobody can
// connect to a socket that does not listen, and one that is connected cannot listen.
func newControl() (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, err
	}
	if err := unix.Bind(fds[1], &unix.SockaddrUnix{}); err != nil {
		return -1, -1, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return fds[0], fds[1], nil
}

func newPipe() (r, w int, err error) {
	var fds [2]int
	err = unix.Pipe2(fds[:], unix.O_CLOEXEC)
	return fds[0], fds[1], err
}

// unread reports whether the other end of a socket has still to read something.
func unread(socket *os.File) bool {
	conn, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = conn.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return err == nil && n > 0
}
