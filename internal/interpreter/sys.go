package interpreter

import (
	"os"

	"golang.org/x/sys/unix"
)

// newSocketpair and newPipe make descriptors that no child inherits by accident.
func newSocketpair() (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], err
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
