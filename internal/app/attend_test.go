package app_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// process starts one of Kaa's processes in a process of its own, which can be killed; vars
// are NAME=VALUE.
func (k *kaa) process(name string, vars ...string) *exec.Cmd {
	k.tb.Helper()
	return k.processWith(func(*exec.Cmd) {}, name, vars...)
}

// processWith does the same after set has changed how it is started.
func (k *kaa) processWith(set func(*exec.Cmd), name string, vars ...string) *exec.Cmd {
	k.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		k.tb.Fatal(err)
	}
	cmd := exec.Command(self) //nolint:noctx // it is killed below
	cmd.Env = append(append(os.Environ(), k.environ...), testenv.ChildEnv(name))
	cmd.Env = append(cmd.Env, vars...)
	cmd.Stdout, cmd.Stderr = k.logs, k.logs
	set(cmd)
	if _, err := cmd.StdinPipe(); err != nil { // it lives as long as that is open
		k.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.tb.Fatal(err)
	}
	k.tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// spawnAPI starts an API in a process of its own, which can be killed, and returns it
// once it answers.
func (k *kaa) spawnAPI() *exec.Cmd {
	k.tb.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		k.tb.Fatal(err)
	}
	addr := lis.Addr().String()
	_ = lis.Close()
	cmd := k.process("api", "KAA_ADDR="+addr)
	k.url = "http://" + addr
	testenv.Eventually(k.tb, "the API answers", func() bool {
		a, err := k.try(k.tb.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && a.status == http.StatusOK
	})
	return cmd
}

// TestKillOfTheAPI: nobody waits for the synchronous jobs of an API that was
// killed, so they are ended within 15 s, whether they run or wait. A job that was
// submitted goes on.
func TestKillOfTheAPI(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t))
	api := k.spawnAPI()
	k.run(app.RunRunner)
	submitted := k.submit(fields{"code": "import time\ntime.sleep(12)\nprint('end')"})
	const calls = 4
	cut := make(chan error, calls)
	for range calls {
		go func() {
			_, err := k.try(t.Context(), http.MethodPost, executePath, fields{"code": "import time\ntime.sleep(600)", "timeout": 1200})
			cut <- err
		}()
	}
	testenv.Eventually(t, "all are accepted", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/queues", nil).raw, `"depth":3,"active":2`)
	})
	<-time.After(10 * time.Second) // longer than a lease: it is renewed
	if a := k.call(http.MethodGet, "/v1/jobs?state=cancelled", nil); !strings.Contains(a.raw, `"jobs":[]`) {
		t.Errorf("cancelled, although the callers wait: %s", a.raw)
	}
	killed := time.Now()
	if err := api.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range calls {
		if err := <-cut; err == nil {
			t.Error("a call was answered")
		}
	}
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	testenv.Eventually(t, "all are cancelled", func() bool {
		a := k.call(http.MethodGet, "/v1/jobs?state=cancelled", nil)
		jobs, _ := a.body["jobs"].([]any)
		return len(jobs) == calls
	})
	t.Logf("all were cancelled %s after the kill", time.Since(killed))
	testenv.Within(t, 15*time.Second, killed)
	if end := k.await(submitted); end.str("result.stdout") != "end\n" {
		t.Errorf("the submitted job: %s", end.raw)
	}
}
