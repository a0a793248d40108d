package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newControl makes the socket pair between the runner and a worker. No child inherits its
// descriptors by accident. The worker's end belongs to the runner's network namespace, where
// the code could bind it to any free abstract name. So it gets a name here, which the kernel
// chooses, because a socket cannot get a second name. The name is of no use to the code: a
// connected socket cannot listen, and a process cannot connect to a socket that does not.
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

// newPipe makes a pipe that belongs to the user owner; 0 is this process's own user. No child
// inherits its descriptors by accident. Code opens its pipes by name, as /dev/stdout, and the
// kernel then checks the rights of the pipe's owner. The code can open only pipes of which it
// has a descriptor, so it gains no more than the other direction of its own pipe.
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

// Unread reports whether the other end of a socket has not read everything sent to it.
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
