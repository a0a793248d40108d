package process

import (
	"errors"
	"syscall"
)

var errClosed = errors.New("no more processes are started")

// Spawner starts all zygotes of a pool from one thread. The kernel kills a zygote when the thread
// that started it ends (Pdeathsig), so that no zygote survives this process. Go may end any other
// thread at any time, which would kill zygotes too early.
type Spawner struct {
	requests chan Request
	done     chan struct{}
}

// Request is a process to be started.
type Request struct {
	Argv, Env []string
	Dir       string
	Files     []uintptr
	Attr      *syscall.SysProcAttr
	reply     chan spawnReply
}

type spawnReply struct {
	proc *Process
	err  error
}

// NewSpawner returns a spawner, which serves requests once Run is called.
func NewSpawner() *Spawner {
	return &Spawner{requests: make(chan Request), done: make(chan struct{})}
}

// Run serves requests until Close. Close must be called only after the last zygote has ended.
func (s *Spawner) Run() {
	release := lockThread()
	defer release()
	for {
		select {
		case <-s.done:
			return
		case req := <-s.requests:
			proc, err := startProcess(req)
			req.reply <- spawnReply{proc, err}
		}
	}
}

// Close ends Run.
func (s *Spawner) Close() { close(s.done) }

// Start starts a process on the thread of Run.
func (s *Spawner) Start(req Request) (*Process, error) {
	req.reply = make(chan spawnReply, 1)
	select {
	case s.requests <- req:
		reply := <-req.reply
		return reply.proc, reply.err
	case <-s.done:
		return nil, errClosed
	}
}
