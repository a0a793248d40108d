package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// cluster is a Kaa of real processes on a Redis that keeps what it has answered.
type cluster struct {
	tb      testing.TB
	dir     string // logs, and where executed code leaves its marks
	redis   *testenv.RedisServer
	apis    []*process
	runners []*process
	down    windows // when Redis was away
}

// process is a place for one process: what runs in it may be replaced.
type process struct {
	name   string
	binary string
	env    []string
	dir    string
	health string         // http://host:port
	link   *testenv.Proxy // its way to Redis
	away   windows        // when it was dead, frozen or starting
	cut    windows        // when its way to Redis was cut

	mu     sync.Mutex
	starts int
	cmd    *exec.Cmd
	exited chan struct{}
}

// windows are the times of one kind of fault.
type windows struct {
	mu  sync.Mutex
	all []window
}

type window struct{ from, to time.Time } // to is zero while it lasts

func (w *windows) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.all); n > 0 && w.all[n-1].to.IsZero() {
		return
	}
	w.all = append(w.all, window{from: time.Now()})
}

func (w *windows) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.all); n > 0 && w.all[n-1].to.IsZero() {
		w.all[n-1].to = time.Now()
	}
}

func (w *windows) list() []window {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]window(nil), w.all...)
}

// build makes the binaries of this source.
func build(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", dir, "../../cmd/api", "../../cmd/runner")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// startCluster starts Redis, APIs and runners, and waits until they are ready.
func startCluster(tb testing.TB, apis, runners int, vars ...string) *cluster {
	tb.Helper()
	c := newCluster(tb)
	bin := build(tb)
	for n := range apis {
		c.addAPI(bin, fmt.Sprint("api", n), vars...)
	}
	for n := range runners {
		c.addRunner(bin, fmt.Sprint("runner", n), vars...)
	}
	c.start(c.processes()...)
	return c
}

// newCluster starts Redis, with places for no processes.
func newCluster(tb testing.TB) *cluster {
	tb.Helper()
	c := &cluster{tb: tb, dir: tb.TempDir(), redis: testenv.OwnRedis(tb, testenv.Durable()...)}
	if *keep != "" {
		c.dir = filepath.Join(*keep, tb.Name())
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

// addAPI adds a place for an API of the binaries in bin.
func (c *cluster) addAPI(bin, name string, vars ...string) *process {
	p := c.place(filepath.Join(bin, "api"), name, "KAA_ADDR", vars)
	c.apis = append(c.apis, p)
	return p
}

// addRunner adds a place for a runner.
func (c *cluster) addRunner(bin, name string, vars ...string) *process {
	p := c.place(filepath.Join(bin, "runner"), name, "KAA_RUNNER_ADDR", vars)
	c.runners = append(c.runners, p)
	return p
}

func (c *cluster) place(binary, name, addrVar string, vars []string) *process {
	p := &process{name: name, binary: binary, dir: c.dir, link: testenv.NewProxy(c.tb, c.redis.Addr)}
	addr := freeAddr(c.tb)
	p.health = "http://" + addr
	work := filepath.Join(c.dir, "work", p.name)
	if err := os.MkdirAll(work, 0o700); err != nil {
		c.tb.Fatal(err)
	}
	p.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "KAA_REDIS_URL=redis://" + p.link.Addr, addrVar + "=" + addr,
		"KAA_PYTHON=" + testenv.SystemPython(), "KAA_SANDBOX=none", "KAA_WORK_DIR=" + work, "KAA_BLOB_URL=file://" + filepath.Join(c.dir, "blobs"), "KAA_CONCURRENCY=6", "KAA_PARKED=3",
		"KAA_DRAIN_TIMEOUT=3s", "KAA_KILL_GRACE=500ms", "KAA_SHUTDOWN_DELAY=500ms",
	}, vars...)
	c.tb.Cleanup(p.kill)
	return p
}

// start starts processes and waits until they are ready.
func (c *cluster) start(all ...*process) {
	c.tb.Helper()
	for _, p := range all {
		if err := p.start(); err != nil {
			c.tb.Fatal(err)
		}
	}
	for _, p := range all {
		if !p.awaitReady(c.tb.Context(), 30*time.Second) {
			c.tb.Fatalf("%s does not get ready; see %s", p.name, c.dir)
		}
	}
}

func (c *cluster) processes() []*process {
	return append(append([]*process(nil), c.apis...), c.runners...)
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	lis, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	return lis.Addr().String()
}

// start puts a new process into the place.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
	log, err := os.Create(filepath.Join(p.dir, fmt.Sprintf("%s.%03d.log", p.name, p.starts)))
	if err != nil {
		return err
	}
	cmd := exec.Command(p.binary) //nolint:noctx // kill ends it
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	exited, started := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(exited)
		// The parent-death signal comes when the thread that forked ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = log.Close()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	p.cmd, p.exited = cmd, exited
	return <-started
}

func (p *process) current() (*exec.Cmd, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.exited
}

func (p *process) signal(sig syscall.Signal) {
	if cmd, _ := p.current(); cmd != nil && cmd.Process != nil {
		_ = cmd.Process.Signal(sig)
	}
}

// kill ends the process and waits until it is gone.
func (p *process) kill() {
	cmd, exited := p.current()
	if cmd == nil || cmd.Process == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-exited
}

// terminate asks the process to stop and reports whether it did so in time.
func (p *process) terminate(patience time.Duration) bool {
	_, exited := p.current()
	p.signal(syscall.SIGTERM)
	select {
	case <-exited:
		return true
	case <-time.After(patience):
		return false
	}
}

func (p *process) exitCode() int {
	cmd, _ := p.current()
	return cmd.ProcessState.ExitCode()
}

// awaitReady reports whether the process says that it is ready, in time.
func (p *process) awaitReady(ctx context.Context, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.ready(ctx) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func (p *process) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// logs are the logs of everything that ran in the place, oldest first.
func (p *process) logs() []string {
	names, _ := filepath.Glob(filepath.Join(p.dir, p.name+".*.log"))
	return names
}

// runnerIDs tells which process each runner id was.
func (c *cluster) runnerIDs() map[string]*process {
	ids := map[string]*process{}
	for _, p := range c.runners {
		for _, name := range p.logs() {
			text, err := os.ReadFile(name)
			if err != nil {
				c.tb.Error(err)
			}
			for line := range bytes.Lines(text) {
				var entry struct{ Msg, Runner string }
				if json.Unmarshal(line, &entry) == nil && entry.Msg == "taking jobs" {
					ids[entry.Runner] = p
				}
			}
		}
	}
	return ids
}

// leftovers lists the processes that live in the working directories, and those of commands.
func (c *cluster) leftovers() []string {
	var found []string
	work := filepath.Join(c.dir, "work")
	entries, _ := fs.Glob(os.DirFS("/proc"), "[0-9]*")
	for _, pid := range entries {
		cwd, err := os.Readlink(filepath.Join("/proc", pid, "cwd"))
		cmdline, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		if err == nil && strings.HasPrefix(cwd, work) || bytes.Contains(cmdline, []byte(commandMark)) {
			found = append(found, pid+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}
