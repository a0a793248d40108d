package process

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// One fork makes namespaces, changes directory and executes a file, and the kernel returns one
// error number for all of them. So the number rarely names the cause. After a failure this file
// tries the steps one by one.

// PartError is the reason why an interpreter did not start, other than a layer of the sandbox,
// with advice to the operator.
type PartError struct {
	Part   string // a word or two
	Err    error
	Advice string
}

func (e *PartError) Error() string {
	text := e.Part + ": " + e.Err.Error()
	if e.Advice != "" {
		text += "; to change that, " + e.Advice
	}
	return text
}

// Unwrap returns the cause.
func (e *PartError) Unwrap() error { return e.Err }

// shortOf returns an error that names the exhausted resource, if the error number always means
// one; nil otherwise.
func shortOf(errno syscall.Errno, err error) *PartError {
	switch errno { //nolint:exhaustive // the others mean something else
	case unix.EAGAIN:
		return &PartError{"processes", err, "raise what limits them: pids.max of the runner's control group (pids_limit of a container, TasksMax= of a service), " +
			"RLIMIT_NPROC of its user, or sysctl kernel.pid_max; or lower KAA_CONCURRENCY, KAA_MAX_SESSIONS or KAA_MAX_PROCESSES"}
	case unix.ENOMEM:
		return &PartError{"memory", err, "give the runner's control group or machine more memory, or lower KAA_CONCURRENCY or KAA_MAX_SESSIONS"}
	case unix.EMFILE, unix.ENFILE:
		return &PartError{"open files", err, "raise the runner's limit of open files (ulimit -n) or sysctl fs.file-max"}
	}
	return nil
}

// IsFull reports whether err says that a file system has no room.
func IsFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// BlameDisk names the file system of the work directory in an error that says that it is full.
func BlameDisk(err error) error {
	if IsFull(err) {
		return &PartError{"work directory", err, "make room on the file system of KAA_WORK_DIR"}
	}
	return err
}

// errnoText matches the error number in a message of a Python script: "[Errno 11] …".
var errnoText = regexp.MustCompile(`\[Errno (\d+)\]`)

func errnoOf(text string) syscall.Errno {
	if m := errnoText.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		return syscall.Errno(n)
	}
	return 0
}

// blame makes an error from a script's message about a layer. The layer is empty if the message
// is about none. If the machine lacks a resource, the error names the resource and not the layer.
func blame(layer, text string) error {
	errno := errnoOf(text)
	if short := shortOf(errno, errors.New(text)); short != nil {
		return short
	}
	if layer == "" {
		return errors.New(text)
	}
	if layer == "namespaces" && errno == unix.ENOSPC { // the script made several at once
		if one := sandbox.ThisHost().Forbidden(); one != "" {
			layer = one
		}
	}
	return &LayerError{Layer: layer, Reason: text}
}

// cloneLayers are the namespaces in which a zygote starts.
var cloneLayers = []struct { //nolint:gochecknoglobals // a constant
	flag  uintptr
	layer string
}{
	{unix.CLONE_NEWUSER, "user namespace"},
	{unix.CLONE_NEWNS, "mount namespace"},
	{unix.CLONE_NEWNET, "network namespace"},
	{unix.CLONE_NEWIPC, "ipc namespace"},
	{unix.CLONE_NEWUTS, "uts namespace"},
	{unix.CLONE_NEWCGROUP, "cgroup namespace"},
	{unix.CLONE_NEWPID, "pid namespace"},
}

// whyNoProcess finds the cause of err, with which the start of a process failed. The caller
// must be the thread on which the start failed.
func whyNoProcess(req Request, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	if short := shortOf(errno, fmt.Errorf("fork: %w", err)); short != nil {
		return short
	}
	if _, err := os.Stat(req.Dir); err != nil {
		return &PartError{"work directory", err, "see KAA_WORK_DIR: the runner's private directory below it is gone, and it has to be started again"}
	}
	if err := executable(req.Argv[0]); err != nil {
		return err
	}
	return whichNamespace(req, err, try)
}

// executable returns nil if the interpreter exists and this process may execute it.
func executable(path string) error {
	const advice = "put the interpreter back, or set KAA_PYTHON or KAA_RUNTIMES to one that is there"
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	if err != nil {
		return &PartError{"interpreter", &os.PathError{Op: "execute", Path: path, Err: err}, advice}
	}
	// The file may still be for another architecture, or need a loader that is missing.
	if err := try(Request{Argv: []string{path, "-V"}, Attr: &syscall.SysProcAttr{}}); err != nil {
		var errno syscall.Errno
		errors.As(err, &errno)
		if short := shortOf(errno, fmt.Errorf("fork: %w", err)); short != nil {
			return short
		}
		return &PartError{"interpreter", &os.PathError{Op: "execute", Path: path, Err: err}, advice}
	}
	return nil
}

// whichNamespace tries the requested namespaces one by one and returns an error for the first
// that fails.
func whichNamespace(req Request, err error, try func(Request) error) error {
	held := []string{}
	for _, ns := range cloneLayers {
		if req.Attr.Cloneflags&ns.flag == 0 {
			continue
		}
		attr := *req.Attr
		attr.Cloneflags = req.Attr.Cloneflags & (unix.CLONE_NEWUSER | ns.flag)
		one := req
		one.Argv, one.Attr = []string{req.Argv[0], "-V"}, &attr
		if err := try(one); err != nil {
			return &LayerError{Layer: ns.layer, Reason: err.Error(), Held: held}
		}
		held = append(held, ns.layer)
	}
	if req.Attr.Cloneflags != 0 {
		return &LayerError{Layer: "namespaces", Reason: err.Error(), Held: held}
	}
	return &PartError{"interpreter", fmt.Errorf("fork: %w", err), ""}
}

// try starts a process and ends it at once. The caller holds children.forking.
func try(req Request) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	defer null.Close()
	fd := null.Fd()
	pid, err := syscall.ForkExec(req.Argv[0], req.Argv, &syscall.ProcAttr{ //nolint:gosec // the operator's interpreter
		Dir: req.Dir, Env: req.Env, Files: []uintptr{fd, fd, fd}, Sys: req.Attr,
	})
	if err != nil {
		return err
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return nil
		}
	}
}

// PartOf names the failed part or layer, in words that callers may see.
func PartOf(err error) string {
	if layer, ok := errors.AsType[*LayerError](err); ok {
		return layer.Layer
	}
	if part, ok := errors.AsType[*PartError](err); ok {
		return part.Part
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if short := shortOf(errno, err); short != nil {
			return short.Part
		}
		if errno == unix.ENOSPC || strings.Contains(err.Error(), "private directory") {
			return "work directory"
		}
	}
	return "interpreter"
}
