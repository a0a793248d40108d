package egress

import (
	"net"

	"golang.org/x/sys/unix"
)

// queued waits until bytes have come, and returns how many wait in a socket. 0: it is at its end, or fails, as the next read says.
func queued(c *net.TCPConn) int64 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	waiting, waited := 0, false
	err = raw.Read(func(fd uintptr) bool {
		waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		done := waiting > 0 || waited
		waited = true
		return done
	})
	if err != nil {
		return 0
	}
	return int64(waiting)
}
