package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// sickness is a runner whose interpreter a test can take away.
type sickness struct {
	*kaa
	python string
	runner *kaa // for its probes
}

// startSick starts an API and a runner with an interpreter of its own.
func startSick(t *testing.T, vars ...string) *sickness {
	t.Helper()
	k := start(t, 0, vars...)
	s := &sickness{kaa: k}
	s.python = filepath.Join(t.TempDir(), "python3")
	s.cure()
	was := k.environ
	k.environ = k.environ.With("KAA_PYTHON", s.python).With("KAA_RUNNER_ADDR", "127.0.0.1:0")
	addr, _ := k.run(app.RunRunner)
	k.environ = was
	s.runner = &kaa{tb: t, client: k.client, url: "http://" + addr.String()}
	return s
}

func (s *sickness) cure() {
	s.tb.Helper()
	if err := os.Symlink(testenv.SystemPython(), s.python); err != nil {
		s.tb.Fatal(err)
	}
}

// harm takes the interpreter away, and ends all that has been started with it.
func (s *sickness) harm() {
	s.tb.Helper()
	if err := os.Remove(s.python); err != nil {
		s.tb.Fatal(err)
	}
	s.endAll()
}

// endAll ends all that was started with the interpreter and that cannot be started again.
func (s *sickness) endAll() {
	s.tb.Helper()
	// One that is forked meanwhile is seen the next time: a slot that is left goes on without the others.
	testenv.Eventually(s.tb, "all have ended", func() bool {
		pids := s.started()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
}

// started are the processes of the runner's interpreter: zygotes, slots and workers.
func (s *sickness) started() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(text), s.python+"\x00") {
			if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func (s *sickness) awaitReady(status int) answer {
	s.tb.Helper()
	var a answer
	testenv.Eventually(s.tb, "readiness is "+strconv.Itoa(status), func() bool {
		a = s.runner.call(http.MethodGet, "/readyz", nil)
		return a.status == status
	})
	return a
}

// sickJobs is how many jobs there are beside a sick runner. Calls that wait do not wait for them:
// these are on a queue of less weight.
const sickJobs = 200

// TestSickRunner: beside a healthy runner, one that loses its interpreter in the middle hurts
// no job, no call and no session.
func TestSickRunner(t *testing.T) {
	t.Parallel()
	jobs := sickJobs
	if testenv.IsLong() {
		jobs = 10_000
	}
	sickRunner(t, jobs)
}

func sickRunner(t *testing.T, jobs int) {
	t.Helper()
	s := startSick(t)
	session := s.open(nil) // it lives there, and has no interpreter yet
	s.run(app.RunRunner)
	var ids []string
	for n := range jobs {
		if n == jobs/4 {
			for _, id := range ids { // code that runs would be ended, too
				s.await(id)
			}
			s.harm()
		}
		ids = append(ids, s.submit(fields{"code": "print(" + strconv.Itoa(n) + ")", "queue": "low"}))
		if n == jobs/2 {
			s.awaitReady(http.StatusServiceUnavailable)
		}
	}
	for range 10 {
		if a := s.execute(fields{"code": "print(1)"}); a.str("stdout") != "1\n" {
			t.Errorf("execute: %s", a.raw)
		}
	}
	if got := s.in(session, "print(2)"); got != "2\n" {
		t.Errorf("the session printed %q", got)
	}
	for n, id := range ids {
		if a := s.await(id); a.str("state") != "completed" || a.str("attempt") != "1" || a.str("result.stdout") != strconv.Itoa(n)+"\n" {
			t.Errorf("job %d: %s", n, a.raw)
		}
	}
	for range 4 {
		s.in(s.open(nil), "print(3)")
	}
	s.cure()
	s.awaitReady(http.StatusOK)
}

// TestRunnerWithoutFiles: a runner that alone cannot read the blob store fails no job with files, and
// executes those without.
func TestRunnerWithoutFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	was := k.environ
	occupied := filepath.Join(t.TempDir(), "occupied")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k.environ = was.With("KAA_BLOB_URL", "file://"+occupied)
	k.run(app.RunRunner)
	if a := k.execute(fields{"code": "print(1)"}); a.str("stdout") != "1\n" {
		t.Errorf("without files: %s", a.raw)
	}
	k.environ = was
	k.run(app.RunRunner)
	var ids []string
	for n := range sickJobs {
		ids = append(ids, k.submit(fields{"code": "print(open('a').read())", "files": []fields{{"path": "a", "content": strconv.Itoa(n)}}}))
	}
	for n, id := range ids {
		if a := k.await(id); a.str("state") != "completed" || a.str("attempt") != "1" || a.str("result.stdout") != strconv.Itoa(n)+"\n" {
			t.Errorf("job %d: %s", n, a.raw)
		}
	}
}

// TestSickRunnerAlone: a lone runner that can start nothing is not ready and says why, loses
// no job, and goes on by itself.
func TestSickRunnerAlone(t *testing.T) {
	t.Parallel()
	s := startSick(t)
	s.execute(fields{"code": "print(1)"})
	s.harm()
	var ids []string
	testenv.Eventually(t, "the runner takes nothing", func() bool {
		ids = append(ids, s.submit(fields{"code": "print(1)"}))
		return s.runner.call(http.MethodGet, "/readyz", nil).status == http.StatusServiceUnavailable
	})
	var a answer
	testenv.Eventually(t, "it says why", func() bool { // and no longer what became of a start that was under way
		a = s.awaitReady(http.StatusServiceUnavailable)
		return strings.Contains(a.str("detail"), s.python)
	})
	if a.str("code") != "start_failed" || strings.Contains(a.raw, "sysctl") {
		t.Errorf("not ready: %s", a.raw)
	}
	s.runner.expectMetrics(t, s.runner.url, "kaa_runner_sick 1")
	s.expectMetrics(t, s.url, `kaa_runners{state="sick"} 1`, `kaa_runners{state="taking"} 0`)
	if a := s.call(http.MethodGet, "/v1/runners", nil); !strings.Contains(a.raw, `"sick":"`) {
		t.Errorf("runners: %s", a.raw)
	}
	// What the API knows of runners may be of a moment ago.
	testenv.Eventually(t, "no session is opened there", func() bool {
		a := s.call(http.MethodPost, sessionsPath, nil)
		return a.status == http.StatusServiceUnavailable && a.str("code") == "no_runner"
	})
	ids = append(ids, s.submit(fields{"code": "print(1)"}))
	s.cure()
	for _, id := range ids {
		if a := s.await(id); a.str("state") != "completed" || a.str("attempt") != "1" {
			t.Errorf("%s", a.raw)
		}
	}
	s.awaitReady(http.StatusOK)
}
