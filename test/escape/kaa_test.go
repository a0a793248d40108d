package escape_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// serveVariable makes the test binary a Kaa. It is a process of its own so that its
// environment, descriptors and children are a runner's and not the test's.
const serveVariable = "ESCAPE_SERVE"

// killGrace is what an execution gets between SIGINT and SIGKILL.
const killGrace = time.Second

// serve runs an API and a runner until it is told to stop or the test is gone.
func serve() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := app.RunDev(ctx, app.Process{
		Environ: os.Environ(), Stdout: io.Discard, Stderr: os.Stderr,
		Ready: func(a net.Addr) { _, _ = fmt.Fprintln(os.Stdout, a) },
	})
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// kaa is a running Kaa.
type kaa struct {
	url     string
	addr    *net.TCPAddr
	redis   *testenv.RedisDB
	pid     int
	workDir string
	client  *http.Client
	sandbox string
	logs    *lockedBuffer
	exited  chan error
	cmd     *exec.Cmd
}

// startKaa starts one at a sandbox level. It stops with the test.
func startKaa(t *testing.T, level, secret string) *kaa {
	t.Helper()
	k := &kaa{
		sandbox: level, redis: testenv.Redis(t), workDir: publicDir(t, "", 0o755), logs: new(lockedBuffer), exited: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{}},
	}
	t.Cleanup(k.client.CloseIdleConnections)
	k.cmd = exec.Command(os.Args[0]) //nolint:noctx // it ends with its standard input
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "KAA_") || strings.HasPrefix(kv, "KAA_PYTHON=") {
			k.cmd.Env = append(k.cmd.Env, kv)
		}
	}
	secrets := filepath.Join(t.TempDir(), "secrets.json")
	file := fmt.Sprintf(`{"secrets": [{"name": "escape", "value": %q, "to": ["allowed.invalid:*"], "tenants": ["*"]}]}`, secret)
	if err := os.WriteFile(secrets, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	k.cmd.Env = append(k.cmd.Env, "KAA_EGRESS_INTERCEPT=true", "KAA_SECRETS_FILE="+secrets, serveVariable+"=1", "KAA_ADDR=127.0.0.1:0", "KAA_REDIS_URL="+k.redis.URL, "KAA_BLOB_URL=file://"+t.TempDir(), "KAA_SANDBOX="+level, "KAA_EGRESS=*:*",
		"KAA_WORK_DIR="+k.workDir, "KAA_CONCURRENCY=4", "KAA_KILL_GRACE="+killGrace.String(), "KAA_DRAIN_TIMEOUT=5s", "KAA_TEST_SECRET="+secret, "KAA_PLAIN="+testenv.Plain())
	if os.Getenv("KAA_PYTHON") == "" {
		k.cmd.Env = append(k.cmd.Env, "KAA_PYTHON="+testenv.SystemPython())
	}
	k.cmd.Stderr = k.logs
	stdin, err := k.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.pid = k.cmd.Process.Pid
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() { k.exited <- k.cmd.Wait() }()
	t.Cleanup(func() {
		_ = stdin.Close()
		k.stop(t)
	})
	if readErr != nil {
		t.Fatalf("start at level %s: %v\n%s", level, readErr, k.logs)
	}
	if k.addr, err = net.ResolveTCPAddr("tcp", strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	k.url = "http://" + k.addr.String()
	return k
}

// stop ends it in order. It may be called again.
func (k *kaa) stop(t *testing.T) {
	t.Helper()
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-k.exited:
		k.exited <- err
		if err != nil {
			t.Errorf("stop: %v\n%s", err, k.logs)
		}
	case <-time.After(time.Minute):
		_ = k.cmd.Process.Kill()
		t.Errorf("does not stop\n%s", k.logs)
	}
}

// result is what an execution produced.
type result struct {
	Status    string `json:"status"`
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	SessionID string `json:"sessionId"`
	ExitCode  *int   `json:"exitCode"`
	Error     struct {
		Name      string `json:"name"`
		Value     string `json:"value"`
		Traceback string `json:"traceback"`
	} `json:"error"`
}

func (r result) lastLine() string {
	lines := strings.Split(strings.TrimRight(r.Stdout, "\n"), "\n")
	return lines[len(lines)-1]
}

// verdict is the line in which the program says that it got out, if it does.
func (r result) verdict() string {
	for line := range strings.Lines(r.Stdout) {
		if strings.HasPrefix(line, escaped) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// String shows a result in a message.
func (r result) String() string {
	const most = 3000
	code := "-"
	if r.ExitCode != nil {
		code = fmt.Sprint(*r.ExitCode)
	}
	return fmt.Sprintf("status %s, exit code %s, error %s: %s\n%s\nstdout: %s\nstderr: %s", r.Status, code, r.Error.Name,
		clip(r.Error.Value, most), clip(r.Error.Traceback, most), clip(r.Stdout, most), clip(r.Stderr, most))
}

// clip keeps the end of a text.
func clip(s string, most int) string {
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// call makes a request and decodes the answer into to.
func (k *kaa) call(ctx context.Context, method, path string, body, to any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.url+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, clip(string(raw), 1000))
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(raw, to)
}

// execute runs code and waits for its end.
func (k *kaa) execute(ctx context.Context, body map[string]any) (result, error) {
	var r result
	err := k.call(ctx, http.MethodPost, "/process/interpreter/execute", body, &r)
	return r, err
}

// level is what the runner says it holds.
func (k *kaa) level(t *testing.T) string {
	t.Helper()
	var answer struct {
		Runners []struct {
			Sandbox string `json:"sandbox"`
		} `json:"runners"`
	}
	if err := k.call(t.Context(), http.MethodGet, "/v1/runners", nil, &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Runners) != 1 {
		t.Fatalf("%d runners", len(answer.Runners))
	}
	return answer.Runners[0].Sandbox
}

// lockedBuffer is a bytes.Buffer that goroutines may share.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *lockedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *lockedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clip(s.b.String(), 5000)
}
