package interpreter

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
	"github.com/kaa-run/kaa/internal/python"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// zygote is the runner's view of a zygote process: see zygote.py.
type zygote struct {
	proc *process.Process
	mu   sync.Mutex // one request at a time
	link process.Link
	// broken: it has not answered a request. ended, which mu guards: its process has ended.
	broken atomic.Bool
	ended  bool
	// alive counts the zygote and the slots in its session. The reaper does not touch the
	// session until the last of them has ended.
	alive   sync.WaitGroup
	gone    chan struct{} // closed when the zygote and the last slot have ended
	modules []string
}

// zygoteSpec is the first message to a zygote.
type zygoteSpec struct {
	Level sandbox.Level `json:"level"`
	// SlotFilter is for slots, and their workers inherit it. Filter is for workers alone.
	SlotFilter string `json:"slotFilter,omitempty"`
	Filter     string `json:"filter,omitempty"`
	Root       string `json:"root,omitempty"`
	Scratch    string `json:"scratch"` // a directory for preloaded modules to write to, without a root of its own
	Disk       int64  `json:"disk"`
	// Processes bounds the processes of all sandboxes together; 0 is no limit.
	Processes int64 `json:"processes,omitempty"`

	Preload []string `json:"preload"`
	// Packages is the directory with the set of packages, if the runtime has one.
	Packages string `json:"packages,omitempty"`
	// Imports are modules of that set that parked workers import: see warm.go.
	Imports []string `json:"imports,omitempty"`
	// PlainStack leaves the worker's frames below those of the code.
	PlainStack bool `json:"plainStack,omitempty"`
	// PlainMemory leaves preloaded modules in memory as their import has left them.
	PlainMemory bool `json:"plainMemory,omitempty"`
}

// startZygote starts the zygote of a runtime and waits until it has imported its modules. The end of
// ctx ends the start.
func (p *Pool) startZygote(ctx context.Context, st *stock) (*zygote, error) {
	slotFilter, filter, err := sandbox.Filters(p.cfg.Sandbox, p.groups != nil)
	if err != nil {
		return nil, err
	}
	link, theirs, err := process.NewLink("zygote")
	if err != nil {
		return nil, err
	}
	out, err := p.openZygoteFiles(theirs)
	if err != nil {
		link.Close()
		return nil, err
	}
	proc, err := p.spawner.Start(process.Request{
		// -I: Python ignores its environment variables and the current directory. -X utf8:
		// files are UTF-8, whatever locale PassEnv passes on.
		Argv:  append([]string{st.python.Path, "-I", "-X", "utf8", python.Start}, p.cfg.Plain...),
		Env:   process.Env(st.python.Path, p.cfg.PassEnv),
		Dir:   p.dir.Path,
		Files: []uintptr{out.null.Fd(), out.theirs.Fd(), out.theirs.Fd(), theirs.Fd()},
		Attr:  p.zygoteAttr(),
	})
	out.closeTheirs()
	if err != nil {
		out.close()
		link.Close()
		return nil, err
	}
	z := &zygote{proc: proc, link: link}
	z.alive.Add(1)
	said := out.follow(p.cfg.Log)
	spec := zygoteSpec{
		Level: p.cfg.Sandbox, SlotFilter: base64.StdEncoding.EncodeToString(slotFilter), Filter: base64.StdEncoding.EncodeToString(filter), Root: p.rootDir(), Scratch: p.scratchDir(), Disk: p.cfg.Quota.DiskBytes, Preload: st.cfg.Preload,
		PlainStack: p.cfg.PlainStack, PlainMemory: p.cfg.PlainMemory, Packages: st.packages, Imports: st.imports,
	}
	spec.Processes, _ = p.cfg.Ceilings.Sandboxes()
	if err := z.awaitReady(ctx, zygoteTimes*p.cfg.StartTimeout, spec); err != nil {
		z.abort()
		_ = out.ours.SetReadDeadline(time.Now().Add(lastResort))
		return nil, fmt.Errorf("start zygote of %s: %w%s", st.name, err, process.QuoteOutput(said()))
	}
	z.gone = make(chan struct{})
	go func() {
		defer close(z.gone)
		<-proc.Exited
		z.mu.Lock() // the last request is over, and its slot counted
		z.ended = true
		z.alive.Done()
		z.mu.Unlock()
		z.alive.Wait()
		proc.Forget()
		said()
	}()
	return z, nil
}

// zygoteTimes is how many times the StartTimeout a zygote may take. It compiles and imports modules, which on a
// busy machine takes much longer than the start of a worker. Without it there is no runtime.
const zygoteTimes = 3

func (z *zygote) awaitReady(ctx context.Context, limit time.Duration, spec zygoteSpec) error {
	if err := z.link.Send(spec); err != nil {
		return err
	}
	m, _, err := z.link.ReceiveWithin(ctx, limit)
	switch {
	case ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("not ready after %s: %w", limit, err)
	case err != nil:
		return fmt.Errorf("await it: %w", err)
	case m.Failure() != nil:
		return m.Failure()
	case m.Type != "ready" || m.Version != protocol.Version:
		return fmt.Errorf("await it: %w", protocol.ErrFrame)
	}
	z.modules = m.Modules
	return nil
}

// errZygoteEnded: no request was sent, because the zygote had ended.
var errZygoteEnded = errors.New("the zygote has ended")

// fork makes the zygote fork a slot, and returns the slot's pidfd. It kills a zygote that does not
// answer; the slots of that zygote live on.
func (z *zygote) fork(ctx context.Context, limit time.Duration, req slotRequest, socket *os.File) (*os.File, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.ended || z.broken.Load() {
		return nil, errZygoteEnded
	}
	pidfd, err := z.link.Ask(ctx, limit, req, int(socket.Fd()))
	if errors.Is(err, process.ErrNoAnswer) {
		z.broken.Store(true)
		z.proc.Kill()
	}
	if err == nil {
		z.alive.Add(1)
	}
	return pidfd, err
}

// running reports whether the process has not ended and answers.
func (z *zygote) running() bool {
	select {
	case <-z.proc.Exited:
		return false
	default:
		return !z.broken.Load()
	}
}

// close kills the process but not its slots.
func (z *zygote) close() {
	z.proc.Kill()
	select {
	case <-z.proc.Exited:
	case <-time.After(killTime): // another need not wait until the kernel has ended it
	}
	z.link.Close()
}

// abort kills a zygote that has not begun to serve, and all processes that it has started.
func (z *zygote) abort() {
	z.proc.KillSession()
	z.close()
	z.proc.Forget()
}

// wait returns when the process and all its slots have ended.
func (z *zygote) wait() { <-z.gone }

// zygoteFiles are the descriptors 0 to 2 of a zygote. Its output goes to the runner's log.
type zygoteFiles struct {
	null, ours, theirs, control *os.File
}

func (p *Pool) openZygoteFiles(control *os.File) (*zygoteFiles, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, null.Close(), control.Close())
	}
	return &zygoteFiles{null, ours, theirs, control}, nil
}

func (f *zygoteFiles) closeTheirs() {
	for _, file := range []*os.File{f.null, f.theirs, f.control} {
		_ = file.Close()
	}
}

func (f *zygoteFiles) close() { _ = f.ours.Close() }

// follow logs the output of the zygote and its slots. It returns a function that waits until all of
// them have ended and returns their output.
func (f *zygoteFiles) follow(log *slog.Logger) func() []byte {
	const most = 64 << 10
	var text []byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.close()
		buf := make([]byte, 4096)
		for {
			n, err := f.ours.Read(buf)
			if n > 0 && len(text) < most {
				text = append(text, buf[:n]...)
				log.Warn("interpreter: zygote wrote", slog.String("text", string(buf[:n])))
			}
			if err != nil {
				return
			}
		}
	}()
	return func() []byte {
		<-done
		return text
	}
}

// zygoteAttr returns the namespaces and the session of a zygote.
func (p *Pool) zygoteAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if p.cfg.Sandbox != sandbox.Strict {
		return attr
	}
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	uid, gid := os.Geteuid(), os.Getegid()
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	if p.owners.Many() {
		more := syscall.SysProcIDMap{ContainerID: process.FirstOwner, HostID: p.owners.Host, Size: process.MaxOwners}
		attr.UidMappings = append(attr.UidMappings, more)
		attr.GidMappings = append(attr.GidMappings, more)
		attr.GidMappingsEnableSetgroups = true
	}
	return attr
}

// scratchDir returns the directory to which modules may write while they are preloaded.
func (p *Pool) scratchDir() string { return filepath.Join(p.dir.Path, "scratch") }

// rootDir returns the directory on which zygotes build their roots, each in a mount namespace of its
// own.
func (p *Pool) rootDir() string { return filepath.Join(p.dir.Path, "root") }
