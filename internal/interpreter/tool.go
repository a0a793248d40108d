package interpreter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/python"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// A tool is a program of the operator that works on data which is not trusted: the installer of packages. It runs confined at the
// pool's level. Its only way out is a listener that its caller serves, where the level has networks of their own.

// Tool is a call of such a program. Paths in Args and Env are those that Places returns.
type Tool struct {
	Runtime string // whose interpreter it may use; empty for the default one
	Program string // its path
	Args    []string
	Env     []string
	// Dir is the one directory that it may write to.
	Dir string
	// Serve is given the listener at which the tool finds its way out, in a strict sandbox: see ToolProxy. It owns the listener.
	Serve func(l net.Listener)
	// This function, if not nil, is given the output as it comes. It must not block, and not keep the slice.
	Heard func(output []byte)
	// Quota bounds its memory, processes, processors and the size of a file.
	Quota job.Quota
}

const (
	// toolAt and toolDir are where a strict sandbox has the program and its directory.
	toolAt, toolDir = "/run/tool", "/run/dir"
	// toolOutput is the largest part of a tool's output that is kept, its end.
	toolOutput = 256 << 10
	// ToolFailed is the exit code of a tool that could not be confined.
	ToolFailed = 125
)

// ToolDir returns the path of a tool's directory as the tool sees it.
func (p *Pool) ToolDir(dir string) string {
	if p.cfg.Sandbox == sandbox.Strict {
		return toolDir
	}
	return dir
}

// Interpreter returns the path of a runtime's interpreter.
func (p *Pool) Interpreter(runtime string) (string, error) {
	st := p.stockOf(runtime)
	if st == nil {
		return "", fmt.Errorf("find interpreter: %w", job.ErrNoRuntime)
	}
	return st.python.Path, nil
}

// InterpreterVersion returns the version of a runtime's interpreter.
func (p *Pool) InterpreterVersion(runtime string) (string, error) {
	st := p.stockOf(runtime)
	if st == nil {
		return "", fmt.Errorf("find interpreter: %w", job.ErrNoRuntime)
	}
	return st.python.Version, nil
}

// toolSpec is the message to tool.py.
type toolSpec struct {
	Level    sandbox.Level     `json:"level"`
	Root     string            `json:"root"`
	Binds    [][3]any          `json:"binds"`
	Readable []string          `json:"readable"`
	Dir      string            `json:"dir"`
	Argv     []string          `json:"argv"`
	Env      map[string]string `json:"env"`
	Limits   map[string]int64  `json:"limits"`
	Filters  []string          `json:"filters"`
	Network  bool              `json:"network"` // whether it passes a listener to the runner
}

// RunTool runs a tool to its end, and returns its output, both streams together, and its exit code; that of a tool which a signal
// ended is -1. The end of ctx kills it.
func (p *Pool) RunTool(ctx context.Context, t Tool) (out []byte, code int, err error) {
	st := p.stockOf(t.Runtime)
	if st == nil {
		return nil, 0, fmt.Errorf("run tool: %w", job.ErrNoRuntime)
	}
	spec, err := p.toolSpec(t)
	if err != nil {
		return nil, 0, fmt.Errorf("run tool: %w", err)
	}
	group, err := p.groups.New()
	if err != nil {
		return nil, 0, fmt.Errorf("run tool: %w", err)
	}
	defer func() {
		if err := group.Remove(); err != nil {
			p.cfg.Log.Warn("interpreter: the control group of a tool was not removed", slog.Any("err", err))
		}
	}()
	if err := group.Limit(t.Quota); err != nil {
		return nil, 0, fmt.Errorf("run tool: %w", err)
	}
	link, err := p.newToolLink(t)
	if err != nil {
		return nil, 0, fmt.Errorf("run tool: %w", err)
	}
	proc, said, err := p.startTool(st, group, spec, link, t.Heard)
	if err != nil {
		return nil, 0, fmt.Errorf("run tool: %w", err)
	}
	if link != nil {
		if err := link.serve(ctx, t.Serve); err != nil && ctx.Err() == nil {
			p.cfg.Log.Warn("interpreter: a tool has no network", slog.Any("err", err))
		}
		link.link.Close()
	}
	select {
	case <-proc.Exited:
	case <-ctx.Done():
	}
	// Processes that it has started end with it, and so does the output.
	proc.KillSession()
	proc.Kill()
	<-proc.Exited
	group.KillOthers(0, slotKillTimeout)
	out = said()
	proc.Forget()
	if ctx.Err() != nil {
		return out, -1, context.Cause(ctx)
	}
	if status := proc.Status(); status.Exited() {
		return out, status.ExitStatus(), nil
	}
	return out, -1, nil
}

func (p *Pool) toolSpec(t Tool) ([]byte, error) {
	level := p.cfg.Sandbox
	if level == sandbox.Basic {
		level = sandbox.Strict // the filters of basic refuse the network, because it is the machine's there
	}
	first, second, err := sandbox.Filters(level, p.groups != nil)
	if err != nil {
		return nil, err
	}
	spec := toolSpec{
		Level: p.cfg.Sandbox, Root: p.rootDir(), Dir: p.ToolDir(t.Dir), Env: map[string]string{}, Binds: [][3]any{}, Filters: []string{},
		Limits: map[string]int64{"fileBytes": t.Quota.FileBytes, "cpuSeconds": int64(math.Ceil(t.Quota.CPUTime.Seconds()))},
	}
	for _, filter := range [][]byte{second, first} { // the first also refuses to add another
		if len(filter) > 0 {
			spec.Filters = append(spec.Filters, base64.StdEncoding.EncodeToString(filter))
		}
	}
	spec.Network = t.Serve != nil && p.ToolProxy() != ""
	at := t.Program
	if p.cfg.Sandbox == sandbox.Strict {
		at = toolAt
		spec.Binds = append(spec.Binds, [3]any{t.Program, at, false}, [3]any{t.Dir, toolDir, true})
	} else {
		spec.Readable = []string{t.Program, "/etc/resolv.conf", "/etc/hosts"}
	}
	spec.Argv = append([]string{at}, t.Args...)
	for _, variable := range t.Env {
		for i := range variable {
			if variable[i] == '=' {
				spec.Env[variable[:i]] = variable[i+1:]
				break
			}
		}
	}
	return json.Marshal(spec)
}

// startTool starts the process in its control group, and returns a function that waits for the end of its output.
func (p *Pool) startTool(st *stock, group *sandbox.Group, spec []byte, link *toolLink, heard func([]byte)) (*process.Process, func() []byte, error) {
	in, theirIn, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, in.Close(), theirIn.Close())
	}
	in, theirIn = theirIn, in
	files := []uintptr{theirIn.Fd(), theirOut.Fd(), theirOut.Fd()}
	if link != nil {
		files = append(files, link.theirs.Fd())
		defer func() { _ = link.theirs.Close() }()
	}
	proc, err := p.spawner.Start(process.Request{
		Argv:  []string{st.python.Path, "-I", "-X", "utf8", filepath.Join(p.dir.Path, python.Tool)},
		Env:   []string{"LANG=C.UTF-8"},
		Dir:   p.dir.Path,
		Files: files,
		Attr:  p.toolAttr(),
	})
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		return nil, nil, errors.Join(err, in.Close(), out.Close())
	}
	if err := group.Add(proc.PID); err != nil {
		p.cfg.Log.Warn("interpreter: a tool is not in its control group", slog.Any("err", err))
	}
	// The tool does nothing before it has read this.
	_, err = in.Write(spec)
	if err = errors.Join(err, in.Close()); err != nil {
		proc.KillSession()
		proc.Forget()
		return nil, nil, errors.Join(err, out.Close())
	}
	done := make(chan []byte, 1)
	go func() { done <- readEnd(out, toolOutput, heard) }()
	return proc, func() []byte {
		_ = out.SetReadDeadline(time.Now().Add(lastResort)) // a process that has got away may hold it
		return <-done
	}, nil
}

// readEnd reads all of r, closes it and returns the last bytes.
func readEnd(r *os.File, most int, heard func([]byte)) []byte {
	defer r.Close()
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if heard != nil && n > 0 {
			heard(buf[:n])
		}
		if len(all) > 2*most {
			all = append(all[:0], all[len(all)-most:]...)
		}
		if err != nil {
			if len(all) > most {
				all = all[len(all)-most:]
			}
			return all
		}
	}
}

// toolAttr returns the namespaces of a tool: those of a zygote and of a slot.
func (p *Pool) toolAttr() *syscall.SysProcAttr {
	attr := p.zygoteAttr()
	if p.cfg.Sandbox == sandbox.Strict {
		attr.Cloneflags |= unix.CLONE_NEWPID
	}
	return attr
}
