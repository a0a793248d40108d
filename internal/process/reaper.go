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

// Nothing that an execution started may outlive it. With a pid namespace the kernel
// sees to that. Without one a process can leave its parent (double fork) and its
// Process group (setsid); then it becomes a child of its supervisor, which kills it,
// and if the code has killed the supervisor, of this process, which is a child
// sub-reaper too. What a process cannot get is the session id of a zygote or of this
// Process, because workers are started with setsid. So a child of ours in a foreign
// session is a stray: it is killed, and its own children then become ours, until
// none is left. Children in our own session were started by other code of this
// Process and are never touched.

// children is the state of this process about its child processes. The kernel
// has one set of children and one sub-reaper flag for a process, so all pools of
// a process share it.
var children = &reaper{sessions: map[int]*Process{}, threads: map[int]int{}} //nolint:gochecknoglobals // see above

type reaper struct {
	once    sync.Once
	err     error
	session int

	// forking is held from a fork until the child is in sessions, and by a sweep that
	// kills: it must not take a newborn for a stray. Always taken before mu.
	forking sync.Mutex
	// mu guards what follows and every signal and wait, so that no pid can be
	// reused between looking at it and acting on it. It is never held for long.
	mu sync.Mutex
	// sessions are the zygotes, by their pid, which is their session's id too. One
	// that has ended stays for as long as it has slots or workers.
	sessions map[int]*Process
	threads  map[int]int // by thread id: how many spawners run on it
}

// Process is a zygote's process. It is a session and process group leader.
type Process struct {
	PID    int
	Exited chan struct{} // closed once it is gone and reaped

	reaped bool               // guarded by children.mu
	status syscall.WaitStatus // valid after exited
}

// Prepare makes this process the one that inherits orphans.
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

// useThread tells the reaper that this thread, to which the caller has locked
// itself, will start zygotes. The result undoes it.
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

// startProcess forks a zygote. Its death is tied to the calling thread's: see spawner.
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

// Kill ends the process alone: its group has the slots and supervisors in it.
func (p *Process) Kill() {
	children.mu.Lock()
	defer children.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(p.PID, unix.SIGKILL)
	}
}

// KillSession ends the process group of a zygote. The zygote may have been reaped, so long as
// its session is not forgotten: an id that is in use is not given out again.
func (p *Process) KillSession() {
	children.mu.Lock()
	defer children.mu.Unlock()
	if children.sessions[p.PID] == p && !p.reaped {
		_ = unix.Kill(-p.PID, unix.SIGKILL)
	}
}

// Forget drops the session of a zygote. No process may be left in it.
func (p *Process) Forget() {
	children.mu.Lock()
	defer children.mu.Unlock()
	delete(children.sessions, p.PID)
}

// ReapAdopted waits for slots and supervisors that became children of this process because
// their parent has died.
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

// Sweep kills every stray and returns when none is left. Strays of a worker that
// has ended are our children by then, so it has to look at children only, and
// when there are none, as nearly always, that is all it does.
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

// killStrays kills what strays finds, reaps those that are gone at once and
// returns a pidfd for each other, to wait on without a lock.
func (r *reaper) killStrays() ([]int, error) {
	// A zygote that is being forked right now looks like a stray.
	r.forking.Lock()
	defer r.forking.Unlock()
	var pending []int
	for _, pid := range r.strays() {
		r.mu.Lock()
		if pgid, err := unix.Getpgid(pid); err == nil && pgid > 1 {
			// In one go, so that a fork bomb cannot outrun it. A stray cannot be in
			// a group outside its session, so this is no group of ours.
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

// strays lists our children in foreign sessions.
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

// children lists our child processes where strays can be. The kernel keeps
// children by thread. It gives orphans to the first thread of a sub-reaper, which
// in Go never ends, and a clone with CLONE_PARENT makes a zygote's child a child
// of the thread that started the zygote.
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

// lockThread binds the caller to its thread for good: a goroutine that ends
// locked takes the thread with it.
func lockThread() func() {
	runtime.LockOSThread()
	return useThread()
}
