package interpreter

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kaa-run/kaa/internal/python"
)

// writeScripts writes all of Kaa's Python into the pool's private directory.
func writeScripts(dir string) error {
	entries, err := python.Scripts.ReadDir(".")
	if err != nil {
		return fmt.Errorf("read scripts: %w", err)
	}
	for _, entry := range entries {
		text, err := python.Scripts.ReadFile(entry.Name())
		if err != nil {
			return fmt.Errorf("read script: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, entry.Name()), text, 0o600); err != nil {
			return fmt.Errorf("write script: %w", err)
		}
	}
	return nil
}

// spawner starts the zygotes of a pool, all from one thread: the kernel kills a
// zygote when the thread that started it ends (Pdeathsig), so that none survives
// this process, and a thread that Go retires must not take zygotes along.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
}

type spawnRequest struct {
	argv, env []string
	dir       string
	files     []uintptr
	attr      *syscall.SysProcAttr
	reply     chan spawnReply
}

type spawnReply struct {
	proc *process
	err  error
}

func newSpawner() *spawner {
	return &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
}

// run serves requests until close. It must end after the last zygote did.
func (s *spawner) run() {
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

func (s *spawner) close() { close(s.done) }

func (s *spawner) start(req spawnRequest) (*process, error) {
	req.reply = make(chan spawnReply, 1)
	select {
	case s.requests <- req:
		reply := <-req.reply
		return reply.proc, reply.err
	case <-s.done:
		return nil, ErrClosed
	}
}
