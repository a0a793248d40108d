//go:build !linux

package interpreter

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Without Linux there is no sub-reaper: a process that leaves the worker's
// process group outlives its execution.

// process is a worker's process. It is a session and process group leader.
type process struct {
	pid    int
	exited chan struct{} // closed once it is gone and reaped

	mu     sync.Mutex
	reaped bool
	status syscall.WaitStatus // valid after exited
}

func prepareReaper() error { return nil }

func lockThread() func() { return func() {} }

func startProcess(argv, env []string, dir string, files []uintptr) (*process, error) {
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{ //nolint:gosec // the operator's interpreter, our script
		Dir: dir, Env: env, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	p := &process{pid: pid, exited: make(chan struct{})}
	go p.await()
	return p, nil
}

func (p *process) await() {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid, &status, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	p.mu.Lock()
	p.reaped = true
	p.status = status
	p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	close(p.exited)
}

// signal sends sig to the process group, as a terminal does.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, sig)
	}
}

// kill ends the process group and the process.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
}

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reaped
}

func sweep(time.Duration) error { return nil }

func newSocketpair() (ours, theirs int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds[0], fds[1], err
}

func newPipe() (r, w int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var fds [2]int
	err = unix.Pipe(fds[:])
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds[0], fds[1], err
}

// unread cannot be found out in a portable way.
func unread(*os.File) bool { return false }
