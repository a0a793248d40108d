package testenv

import "syscall"

// dieWithParent ends the child even when the test process is killed: a panic or
// a test timeout runs no cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
