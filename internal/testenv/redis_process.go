package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
)

var errRedisMissing = errors.New(redisMissing)

// process is a running redis-server.
type process struct {
	addr   string
	cmd    *exec.Cmd
	output bytes.Buffer  // read it after exited
	exited chan struct{} // closed when the process is gone and reaped
}

// startProcess starts a redis-server that keeps nothing on disk. It stays in the test's process
// session, so that a signal to the whole session ends it as well.
func startProcess(dir, addr string, args ...string) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errRedisMissing
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("testenv: %w", err)
	}
	p := &process{addr: addr, exited: make(chan struct{})}
	options := []string{"--bind", host, "--port", port, "--dir", dir}
	if len(args) == 1 { // the configuration of a sentinel, which is the same program
		options = append(args, append(options, "--sentinel")...)
	} else {
		options = append(options, "--save", "", "--appendonly", "no", "--databases", strconv.Itoa(databases))
		options = append(options, "--replica-announce-ip", host, "--cluster-announce-ip", host) // its connections come from 127.0.0.1
		options = append(options, args...)
	}
	p.cmd = exec.Command(path, options...) //nolint:noctx // kill ends it
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = dieWithParent()

	started := make(chan error, 1)
	go func() {
		defer close(p.exited)
		// Linux sends the parent-death signal when the thread that forked ends:
		// this one must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("testenv: start redis-server: %w", err)
	}
	return p, nil
}

// signal sends sig; to a process that is gone it does nothing.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends the process and waits until it is gone. It may be called again.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
