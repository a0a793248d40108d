package interpreter

import (
	_ "embed" // for the scripts
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kaa-run/kaa/internal/sandbox"
)

//go:embed repl_worker.py
var workerScript []byte

//go:embed zygote.py
var zygoteScript []byte

//go:embed start.py
var startScript []byte

//go:embed display.py
var displayScript []byte

//go:embed notebook.py
var notebookScript []byte

//go:embed branch.py
var branchScript []byte

//go:embed family.py
var familyScript []byte

//go:embed slot.py
var slotScript []byte

//go:embed memory.py
var memoryScript []byte

//go:embed console.py
var consoleScript []byte

// startFile is the script that a zygote is started with, in the pool's private
// directory; it loads the others from beside itself.
const startFile = "start.py"

func writeScripts(dir string) error {
	scripts := sandbox.Scripts()
	scripts[startFile], scripts["zygote.py"], scripts["repl_worker.py"] = startScript, zygoteScript, workerScript
	scripts["branch.py"], scripts["family.py"] = branchScript, familyScript
	scripts["display.py"], scripts["notebook.py"], scripts["console.py"] = displayScript, notebookScript, consoleScript
	scripts["memory.py"], scripts["slot.py"] = memoryScript, slotScript
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
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
