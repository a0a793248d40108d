package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// No process of an execution may outlive the execution. In a pid namespace the kernel ensures
// that. Without one, a process can leave its parent (double fork) and its process group (setsid).
// It then becomes a child of its supervisor, which kills it. If the code has killed the
// supervisor, it becomes a child of this process, which is a child sub-reaper too. But no such
// process can get into the session of a zygote or of this process, because workers start with
// setsid. So a child of this process in a foreign session is a stray. The reaper kills strays;
// their children become children of this process, and it repeats that until none is left. It
// never touches children in this process's own session, because other code has started them.

// children is this process's record of its child processes. The kernel has one set of children
// and one sub-reaper flag for each process, so all pools of a process share the record.
var children = &reaper{sessions: map[int]*Process{}, threads: map[int]int{}} //nolint:gochecknoglobals // see above

type reaper struct {
	once    sync.Once
	err     error
	session int

	// forking is held from a fork until the child is in sessions. A sweep holds it while it
	// kills, because a new child that is not in sessions yet looks like a stray. It is always
	// taken before mu.
	forking sync.Mutex
	// mu guards the fields below and every signal and wait, so that the kernel cannot reuse a
	// pid between a check and the action on it. It is never held for long.
	mu sync.Mutex
	// sessions are the zygotes by pid, which is also the id of their session. An ended zygote
	// stays in it as long as it has slots or workers.
	sessions map[int]*Process
	threads  map[int]int // thread id to the number of spawners that run on the thread
}

// Process is a zygote's process. It is a session and process group leader.
type Process struct {
	PID    int
	Exited chan struct{} // closed once the process has ended and is reaped

	reaped bool               // guarded by children.mu
	status syscall.WaitStatus // valid once Exited is closed
}

// Prepare makes this process the one that inherits orphans of its descendants.
func Prepare() error {
	children.once.Do(func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			children.err = fmt.Errorf("become child sub-reaper: %w", err)
			return
		}
		children.session, children.err = unix.Getsid(0)
	})
	return children.err
}

// useThread registers the current thread, to which the caller has locked itself, as one that
// starts zygotes. The returned function removes it.
func useThread() func() {
	tid := unix.Gettid()
	children.mu.Lock()
	defer children.mu.Unlock()
	children.threads[tid]++
	return func() {
		children.mu.Lock()
		defer children.mu.Unlock()
		if children.threads[tid]--; children.threads[tid] == 0 {
			delete(children.threads, tid)
		}
	}
}

// startProcess forks a zygote. The kernel kills it when the calling thread ends: see Spawner.
func startProcess(req Request) (*Process, error) {
	children.forking.Lock()
	defer children.forking.Unlock()
	pid, err := syscall.ForkExec(req.Argv[0], req.Argv, &syscall.ProcAttr{ //nolint:gosec // the operator's interpreter, our script
		Dir: req.Dir, Env: req.Env, Files: req.Files, Sys: req.Attr,
	})
	if err != nil {
		return nil, whyNoProcess(req, err)
	}
	p := &Process{PID: pid, Exited: make(chan struct{})}
	children.mu.Lock()
	children.sessions[pid] = p
	children.mu.Unlock()
	go p.await()
	return p, nil
}

// await reaps the process.
func (p *Process) await() {
	for {
		err := unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	children.mu.Lock()
	for {
		_, err := syscall.Wait4(p.PID, &p.status, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	p.reaped = true
	children.mu.Unlock()
	close(p.Exited)
}

// Kill kills the process but not its group, which contains the slots and supervisors.
func (p *Process) Kill() {
	children.mu.Lock()
	defer children.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(p.PID, unix.SIGKILL)
	}
}

// KillSession kills the process group of a zygote that has not been reaped. The kernel does not
// reuse the group's id as long as a process is in the group.
func (p *Process) KillSession() {
	children.mu.Lock()
	defer children.mu.Unlock()
	if children.sessions[p.PID] == p && !p.reaped {
		_ = unix.Kill(-p.PID, unix.SIGKILL)
	}
}

// Status returns how the process ended, once Exited is closed.
func (p *Process) Status() syscall.WaitStatus { return p.status }

// Forget removes the session of a zygote from the record. No process may be left in the session.
func (p *Process) Forget() {
	children.mu.Lock()
	defer children.mu.Unlock()
	if children.sessions[p.PID] == p { // not a later zygote with the same number
		delete(children.sessions, p.PID)
	}
}

// ReapAdopted reaps ended slots and supervisors that became children of this process when their
// parent ended.
func ReapAdopted() {
	r := children
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pid := range r.children() {
		sid, err := unix.Getsid(pid)
		if err == nil && sid != pid && r.sessions[sid] != nil {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// Sweep kills every stray and returns when none is left. The strays of an ended worker are
// children of this process by then, so Sweep looks at children only. There are nearly always
// none, and then it does nothing else.
func Sweep(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for len(children.strays()) > 0 {
		pending, err := children.killStrays()
		if err != nil {
			return err
		}
		for _, fd := range pending {
			awaitPidfd(fd, time.Until(deadline))
		}
		if time.Now().After(deadline) && len(children.strays()) > 0 {
			return fmt.Errorf("processes are left %s after they were killed", limit)
		}
	}
	return nil
}

// killStrays kills all strays and reaps those that end at once. It returns a pidfd for each of
// the others, so that the caller can wait for them without a lock.
func (r *reaper) killStrays() ([]int, error) {
	// A zygote looks like a stray until its fork is complete.
	r.forking.Lock()
	defer r.forking.Unlock()
	var pending []int
	for _, pid := range r.strays() {
		r.mu.Lock()
		if pgid, err := unix.Getpgid(pid); err == nil && pgid > 1 {
			// One call kills the whole group, so that a fork bomb cannot outrun it. A stray
			// cannot be in a group outside its session, so this is not a group of the runner.
			_ = unix.Kill(-pgid, unix.SIGKILL)
		}
		_ = unix.Kill(pid, unix.SIGKILL)
		got, err := unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil)
		if got == 0 && err == nil {
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				pending = append(pending, fd)
			}
		}
		r.mu.Unlock()
	}
	return pending, nil
}

// awaitPidfd waits until the process ends, and closes fd.
func awaitPidfd(fd int, limit time.Duration) {
	defer unix.Close(fd)
	ms := max(1, int(limit.Milliseconds()))
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms) //nolint:gosec // a descriptor fits
}

// strays lists the children of this process that are in foreign sessions.
func (r *reaper) strays() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []int
	for _, pid := range r.children() {
		if sid, err := unix.Getsid(pid); err == nil && sid != r.session && r.sessions[sid] == nil {
			found = append(found, pid)
		}
	}
	return found
}

// children lists the child processes of the threads that can have strays. The kernel keeps
// children by thread. It gives orphans to the first thread of a sub-reaper, which never ends in
// Go. A clone with CLONE_PARENT in a zygote makes the new process a child of the thread that
// started the zygote.
func (r *reaper) children() []int {
	main := os.Getpid()
	list, ok := appendChildren(nil, main, main)
	for tid := range r.threads {
		if tid != main && ok {
			list, ok = appendChildren(list, main, tid)
		}
	}
	if !ok {
		return scanChildren(main)
	}
	return list
}

func appendChildren(list []int, pid, tid int) ([]int, bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/children")
	if err != nil {
		return list, false
	}
	for field := range bytes.FieldsSeq(data) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			list = append(list, pid)
		}
	}
	return list, true
}

// scanChildren finds the children of parent in all of /proc, for kernels without
// the children files.
func scanChildren(parent int) []int {
	entries, _ := os.ReadDir("/proc")
	var list []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid …, where the name may contain anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(parent) {
			list = append(list, pid)
		}
	}
	return list
}

// lockThread locks the calling goroutine to its thread permanently and registers the thread. Go
// ends the thread together with a goroutine that is still locked to it.
func lockThread() func() {
	runtime.LockOSThread()
	return useThread()
}
