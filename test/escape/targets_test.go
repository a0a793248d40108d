package escape_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// ipcKey is the first of the System V keys that the victim and the cases use.
const ipcKey = 0x6B616100

// secret makes a secret of the form that kit.py looks for. No hint contains one.
func secret(of string) string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	return "kaa-secret-" + of + "-" + hex.EncodeToString(raw)
}

// publicDir makes a directory that users other than the test's can get into, so
// that it is the sandbox that keeps them out and not its mode.
func publicDir(t *testing.T, parent string, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "kaa-escape-") //nolint:usetesting // t.TempDir is inside a directory that is private
	if err == nil {
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// outside is what the host has that the cases must not reach.
type outside struct {
	dir, secret string
	abstract    string
	visits      atomic.Int64 // connections to its sockets
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	// Not in /tmp, which a sandbox would have of its own.
	o := &outside{dir: publicDir(t, "/var/tmp", 0o777), secret: secret("runner"), abstract: "kaa-escape-" + strconv.Itoa(os.Getpid()) + "-" + strings.ToLower(rand.Text()[:8])}
	for name, mode := range map[string]os.FileMode{"file": 0o666, "private": 0o600} {
		path := filepath.Join(o.dir, name)
		if err := os.WriteFile(path, []byte(o.secret), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(o.dir, "socket")
	for _, address := range []string{socket, "@" + o.abstract} {
		lis, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", address)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		t.Cleanup(func() { _ = lis.Close(); <-done })
		go func() {
			defer close(done)
			for {
				c, err := lis.Accept()
				if err != nil {
					return
				}
				o.visits.Add(1)
				_ = c.Close()
			}
		}()
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	return o
}

// check says whether it is as it was.
func (o *outside) check(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "file private socket" {
		t.Errorf("the directory outside holds %q", got)
	}
	for _, name := range []string{"file", "private"} {
		if text, err := os.ReadFile(filepath.Join(o.dir, name)); err != nil || string(text) != o.secret {
			t.Errorf("the %s outside is %q, %v", name, text, err)
		}
	}
	if n := o.visits.Load(); n > 0 {
		t.Errorf("%d connections to sockets outside", n)
	}
}

// victim is an execution that runs beside the cases.
type victim struct {
	job, session string
	pid          int
	port         int
	abstract     string
	shm          string
	cwd          string
}

// startVictim starts it and waits until it holds all it has.
func (k *kaa) startVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{abstract: "kaa-victim-" + strings.ToLower(rand.Text()[:8]), shm: "/dev/shm/kaa-victim-" + strings.ToLower(rand.Text()[:8]), port: freePort(t)}
	hints := encode(t, map[string]any{"victim": map[string]any{"abstract": v.abstract, "shm file": v.shm, "port": v.port, "key": ipcKey}})
	var job struct {
		ID        string `json:"id"`
		SessionID string `json:"sessionId"`
	}
	body := map[string]any{
		"code": kit + "\n" + victimCode, "timeout": 3000, "envs": map[string]string{"ESCAPE_HINTS": hints, "VICTIM_SECRET": secret("victim")},
	}
	if k.sandbox == "strict" { // its proxy is a target, too
		body["network"] = map[string]any{"allow": []string{"allowed.invalid:*"}}
	}
	err := k.call(t.Context(), http.MethodPost, "/v1/jobs", body, &job)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the victim is ready", func() bool {
		for _, p := range processes() {
			if p.comm == "kaa-victim" && descends(p.pid, k.pid) {
				v.pid = p.pid
				return true
			}
		}
		return false
	})
	if err := k.call(t.Context(), http.MethodGet, "/v1/jobs/"+job.ID, nil, &job); err != nil {
		t.Fatal(err)
	}
	v.job, v.session = job.ID, job.SessionID
	v.cwd = v.directory(t)
	return v
}

// directory is where it runs, as a path of the host's: with a root of its own it can
// be reached through /proc only.
func (v *victim) directory(t *testing.T) string {
	t.Helper()
	base := fmt.Sprintf("/proc/%d/", v.pid)
	cwd, err := os.Readlink(base + "cwd")
	if err != nil {
		return base + "cwd" // only root may know
	}
	theirs, err1 := os.Readlink(base + "ns/mnt")
	ours, err2 := os.Readlink("/proc/self/ns/mnt")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if theirs != ours {
		return base + "root" + cwd
	}
	return cwd
}

// end cancels it and returns its last line: INTACT, or what it noticed.
func (v *victim) end(t *testing.T, k *kaa) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	var job struct {
		State  string `json:"state"`
		Result result `json:"result"`
	}
	if err := k.call(ctx, http.MethodDelete, "/v1/jobs/"+v.job, nil, &job); err != nil {
		t.Error(err)
		return ""
	}
	if err := k.call(ctx, http.MethodGet, "/v1/jobs/"+v.job+"?wait=20s", nil, &job); err != nil {
		t.Error(err)
		return ""
	}
	if job.State != "cancelled" {
		t.Errorf("the victim's job is %s", job.State)
	}
	return job.Result.lastLine()
}

// hints tell a case where everything is. They contain no secret.
func hints(t *testing.T, k *kaa, level string, o *outside, v *victim) string {
	t.Helper()
	namespaces := map[string]uint64{}
	for _, kind := range namespaceKinds {
		var st syscall.Stat_t
		if err := syscall.Stat("/proc/self/ns/"+kind, &st); err == nil {
			namespaces[kind] = st.Ino
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	_, redisPort, err := net.SplitHostPort(k.redis.Addr)
	if err != nil {
		t.Fatal(err)
	}
	redis, err := strconv.Atoi(redisPort)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, map[string]any{
		"level": level, "host": host, "boot id": strings.TrimSpace(string(boot)), "namespaces": namespaces, "addresses": ownAddresses(t),
		"pids":  map[string]int{"runner": k.pid, "test": os.Getpid(), "victim": v.pid},
		"ports": map[string]int{"redis": redis, "api": k.addr.Port},
		"outside": map[string]string{
			"dir": o.dir, "file": filepath.Join(o.dir, "file"), "private file": filepath.Join(o.dir, "private"),
			"socket": filepath.Join(o.dir, "socket"), "abstract": o.abstract, "work dir": k.workDir,
		},
		"victim": map[string]any{
			"job": v.job, "session": v.session, "dir": v.cwd, "file": filepath.Join(v.cwd, "precious"), "socket": filepath.Join(v.cwd, "victim.sock"),
			"tmp file": filepath.Join(filepath.Dir(v.cwd), "tmp", "precious"), "shm file": v.shm, "abstract": v.abstract, "port": v.port, "key": ipcKey,
		},
	})
}

// ownAddresses are this machine's addresses but the loopback's.
func ownAddresses(t *testing.T) []string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			found = append(found, n.IP.String())
		}
	}
	return found
}

func freePort(t *testing.T) int {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port
}

// request is what is sent to run a case.
func (c escapeCase) request(level, hints string) map[string]any {
	envs := map[string]string{"ESCAPE_HINTS": hints}
	if *verbose {
		envs["ESCAPE_VERBOSE"] = "1"
	}
	maps.Copy(envs, c.envs)
	body := map[string]any{"code": kit + "\n" + c.code, "timeout": c.timeout.Seconds(), "envs": envs}
	if len(c.limits) > 0 && level != "none" {
		body["limits"] = c.limits
	}
	if c.network != nil && level == "strict" {
		body["network"] = c.network
	}
	return body
}

// longest is what an execution may take: its limit, the grace, a second to collect
// what is left of it, and a second because the machine is busy.
func (c escapeCase) longest() time.Duration { return c.timeout + killGrace + 2*time.Second }
