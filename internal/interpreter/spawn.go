package interpreter

import (
	"context"
	_ "embed" // for the worker's script
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

//go:embed repl_worker.py
var workerScript []byte

const workerFile = "repl_worker.py"

// spawner starts the processes of a pool, all from one thread: the kernel kills a
// worker when the thread that started it ends (Pdeathsig), so that no worker
// survives this process, and a thread that Go retires must not take workers along.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
}

type spawnRequest struct {
	argv, env []string
	dir       string
	files     []uintptr
	reply     chan spawnReply
}

type spawnReply struct {
	proc *process
	err  error
}

func newSpawner() *spawner {
	return &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
}

// run serves requests until close. It must end after the last worker did.
func (s *spawner) run() {
	release := lockThread()
	defer release()
	for {
		select {
		case <-s.done:
			return
		case req := <-s.requests:
			proc, err := startProcess(req.argv, req.env, req.dir, req.files)
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

// openChannels makes stdin, stdout, stderr and the control socket, in the order
// of the worker's descriptors.
func openChannels() ([]channel, error) {
	var all []channel
	for i, name := range []string{"stdin", "stdout", "stderr", "control"} {
		var ours, theirs int
		var err error
		switch i {
		case 0:
			theirs, ours, err = newPipe()
		case 3:
			ours, theirs, err = newSocketpair()
		default:
			ours, theirs, err = newPipe()
		}
		var c channel
		if err == nil {
			c, err = newChannel(ours, theirs, name)
		}
		if err != nil {
			for _, c := range all {
				err = errors.Join(err, c.ours.Close(), c.theirs.Close())
			}
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// spawn makes a worker and waits until it is parked. The end of ctx ends it.
func (p *Pool) spawn(ctx context.Context) (*Worker, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make session id: %w", err)
	}
	d, err := makeDirs(p.dir.path, id.String())
	if err != nil {
		return nil, err
	}
	chans, err := openChannels()
	if err != nil {
		return nil, errors.Join(err, d.remove())
	}
	proc, err := p.startPython(d, chans)
	w := &Worker{
		id: id.String(), pool: p, dirs: d, proc: proc,
		stdin: chans[0].ours, stdout: chans[1].ours, stderr: chans[2].ours, control: chans[3].ours,
		frames:  newFrameReader(chans[3].ours),
		closing: make(chan struct{}),
	}
	if err != nil {
		w.closeFiles()
		return nil, errors.Join(err, d.remove())
	}
	if err := w.awaitReady(ctx, p.cfg.StartTimeout); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// startPython starts the process and lets go of its ends of the channels.
func (p *Pool) startPython(d dirs, chans []channel) (*process, error) {
	files := make([]uintptr, len(chans))
	for i, c := range chans {
		files[i] = c.theirs.Fd()
	}
	proc, err := p.spawner.start(spawnRequest{
		// -I: nothing of the environment or the directory is imported. -X utf8:
		// files are UTF-8 whatever locale PassEnv brings along.
		argv:  []string{p.python.Path, "-I", "-X", "utf8", p.script},
		env:   workerEnv(p.python.Path, p.cfg.PassEnv, d),
		dir:   d.work,
		files: files,
	})
	for _, c := range chans {
		_ = c.theirs.Close()
	}
	return proc, err
}

// awaitReady waits for the worker's first frame. If it does not come, the error
// has what Python said instead.
func (w *Worker) awaitReady(ctx context.Context, limit time.Duration) error {
	if err := w.control.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("await worker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetReadDeadline(time.Unix(1, 0)) })
	f, err := w.frames.next()
	stop()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("await worker: %w", ErrClosed)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("await worker: not ready after %s%s: %w", limit, w.lastWords(), err)
	case err != nil:
		return fmt.Errorf("await worker: %w%s", err, w.lastWords())
	case f.Type != frameReady:
		return fmt.Errorf("await worker: %w: %s instead of ready", errFrame, f.Type)
	}
	return w.control.SetReadDeadline(time.Time{})
}

// lastWords kills a worker that did not start and returns what it wrote to stderr.
func (w *Worker) lastWords() string {
	w.proc.kill()
	<-w.proc.exited
	_ = w.stderr.SetReadDeadline(time.Now().Add(lastResort))
	out, _ := io.ReadAll(io.LimitReader(w.stderr, 64<<10))
	return quoteOutput(out)
}
