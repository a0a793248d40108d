package process

import (
	"errors"
	"fmt"
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

// newPipe makes a pipe that belongs to the user owner; 0 is this process's own. Code opens
// its pipes by name, as /dev/stdout, and the kernel then asks for the rights of a file's
// owner. It can open only what it has a descriptor of, so it gets no more by that than the
// other direction of its own pipe.
func newPipe(owner int) (r, w int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	if owner == 0 {
		return fds[0], fds[1], nil
	}
	if err := unix.Fchown(fds[0], owner, owner); err != nil { // both ends have one inode
		return -1, -1, errors.Join(fmt.Errorf("give pipe to its user: %w", err), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return fds[0], fds[1], nil
}

// Unread reports whether the other end of a socket has still to read something.
func Unread(socket *os.File) bool {
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
