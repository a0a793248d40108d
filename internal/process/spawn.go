package process

import (
	"errors"
	"syscall"
)

var errClosed = errors.New("no more processes are started")

// Spawner starts the zygotes of a pool, all from one thread: the kernel kills a
// zygote when the thread that started it ends (Pdeathsig), so that none survives
// this process, and a thread that Go retires must not take zygotes along.
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

// NewSpawner returns a spawner, which serves once it runs.
func NewSpawner() *Spawner {
	return &Spawner{requests: make(chan Request), done: make(chan struct{})}
}

// Run serves requests until close. It must end after the last zygote did.
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
