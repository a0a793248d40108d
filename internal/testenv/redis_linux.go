package testenv

import (
	"fmt"
	"os"
	"syscall"
)

// Loopback is the address at which the Redis servers of this process listen: no other process of the tests has it. So clients of a
// server that was killed cannot get into a server of other tests, which may have been given its port.
func Loopback() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255)
}

// dieWithParent ends the child even when the test process is killed: a panic or
// a test timeout runs no cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
