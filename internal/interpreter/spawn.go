package interpreter

import (
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

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
	scripts["memory.py"] = memoryScript
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

// channel is one connection to a worker: our end, which Go's poller watches, and
// the worker's, which is closed here once the worker has it.
type channel struct {
	ours   *os.File
	theirs *os.File
}

func newChannel(ours, theirs int, name string) (channel, error) {
	// Only then do deadlines work, and does closing end a read.
	if err := unix.SetNonblock(ours, true); err != nil {
		return channel{}, errors.Join(err, unix.Close(ours), unix.Close(theirs))
	}
	return channel{os.NewFile(uintptr(ours), name), os.NewFile(uintptr(theirs), name)}, nil
}

// The places of channels, which are those of the worker's descriptors.
const (
	stdin = iota
	stdout
	stderr
	control
)

// openChannels makes stdin, stdout, stderr and the control socket, in the order
// of the worker's descriptors.
func openChannels() ([]channel, error) {
	var all []channel
	for i, name := range []string{stdin: "stdin", stdout: "stdout", stderr: "stderr", control: "control"} {
		var ours, theirs int
		var err error
		switch i {
		case stdin:
			theirs, ours, err = newPipe()
		case control:
			ours, theirs, err = newSocketpair()
		default:
			ours, theirs, err = newPipe()
		}
		var c channel
		if err == nil {
			c, err = newChannel(ours, theirs, name)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), closeChannels(all))
		}
		all = append(all, c)
	}
	return all, nil
}

func closeChannels(chans []channel) error {
	var errs []error
	for _, c := range chans {
		errs = append(errs, c.ours.Close(), c.theirs.Close())
	}
	return errors.Join(errs...)
}
