package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// asKaa makes the binary of the tests kaa itself.
const asKaa = "KAA_TEST_AS_KAA=1"

// operatorKey is a key of the Kaa that the tests share.
const operatorKey = "key-of-the-operator-of-tests"

func TestMain(m *testing.M) {
	if os.Getenv("KAA_TEST_AS_KAA") != "" {
		main()
		return
	}
	os.Exit(testenv.InTempDir(func() int {
		defer stopShared()
		return m.Run()
	}))
}

// shared is the Kaa of all tests.
var shared struct {
	once sync.Once
	cmd  *exec.Cmd
	dir  string
	url  string
	err  error
}

func stopShared() {
	if shared.cmd != nil {
		_ = shared.cmd.Process.Signal(syscall.SIGTERM)
		_ = shared.cmd.Wait()
		_ = os.RemoveAll(shared.dir)
	}
}

// start returns the address of the Kaa that the tests share.
func start(t *testing.T) string {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "kaa-cmd-"); shared.err != nil { //nolint:usetesting // all tests share it
			return
		}
		shared.cmd = exec.CommandContext(context.Background(), os.Args[0], "dev")
		shared.cmd.Env = []string{
			asKaa, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "KAA_ADDR=127.0.0.1:0", "KAA_CONCURRENCY=2", "KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + shared.dir,
			"KAA_ADMIN_KEYS=" + operatorKey,
		}
		out, err := shared.cmd.StdoutPipe()
		if err != nil {
			shared.err = err
			return
		}
		var log bytes.Buffer
		shared.cmd.Stderr = &log
		if shared.err = shared.cmd.Start(); shared.err != nil {
			return
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, rest, found := strings.Cut(lines.Text(), "is ready on "); found {
				shared.url, _, _ = strings.Cut(rest, " ")
				return
			}
		}
		shared.err = errors.New("kaa dev does not start:\n" + log.String())
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.url
}

// child returns kaa as a process, in a directory of its own, with no variables but these.
func child(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{asKaa, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "HOME=" + cmd.Dir}, environ...)
	return cmd
}

// ran is the end of a kaa.
type ran struct {
	stdout, stderr string
	code           int
}

func run(t *testing.T, cmd *exec.Cmd) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return ran{stdout.String(), stderr.String(), testenv.ExitCode(err)}
}

func operator(t *testing.T) []string {
	t.Helper()
	return []string{"KAA_URL=" + start(t), "KAA_API_KEY=" + operatorKey}
}

// TestMistypes: what a person mistypes has a message that says what is right, and ends with 125.
func TestMistypes(t *testing.T) {
	t.Parallel()
	html := "KAA_URL=" + strangers(t)
	for name, tt := range map[string]struct {
		args    string
		environ []string
		want    string
	}{
		"command":             {args: "jbos", want: `kaa has no command "jbos": did you mean kaa jobs?`},
		"far from a command":  {args: "xyzzyxyz", want: "there are batches"},
		"command of jobs":     {args: "jobs lst", want: "did you mean kaa jobs ls?"},
		"flag":                {args: "run --timout 3 a.py", want: "kaa run has no flag --timout: did you mean --timeout?"},
		"far from a flag":     {args: "top --xyzzyxyz", want: "there are --"},
		"value of a flag":     {args: "run --timeout soon a.py", want: "write seconds, or a duration such as 90s or 5m; kaa help run shows the flags"},
		"too few arguments":   {args: "jobs get", want: "write: kaa jobs get ID"},
		"no file":             {args: "run", want: "name a file"},
		"missing file":        {args: "run nowhere.py", want: "nowhere.py: no such file"},
		"no address":          {args: "jobs", want: "kaa login"},
		"no server":           {args: "jobs", environ: []string{"KAA_URL=http://127.0.0.1:1"}, want: "nothing answers at http://127.0.0.1:1 (KAA_URL): is Kaa running there?"},
		"no address at all":   {args: "jobs", environ: []string{"KAA_URL=:x:"}, want: "KAA_URL"},
		"other scheme":        {args: "jobs", environ: []string{"KAA_URL=ftp://127.0.0.1:1"}, want: "write http://host:port"},
		"https to http":       {args: "jobs", environ: []string{"KAA_URL=" + strings.Replace(start(t), "http", "https", 1)}, want: "speaks http, not https"},
		"another server":      {args: "jobs", environ: []string{html}, want: "not as a Kaa does"},
		"old server":          {args: "sessions", environ: []string{html + "/old"}, want: "may be older than this client"},
		"wrong key":           {args: "jobs", environ: []string{"KAA_URL=" + start(t), "KAA_API_KEY=wrong"}, want: "valid API key"},
		"no such job":         {args: "jobs get 01a228d8-1473-8d72-8f12-e6162b000000", environ: operator(t), want: "no job has"},
		"no such session":     {args: "exec nobody -- ls", environ: operator(t), want: "session nobody: "},
		"no such profile":     {args: "jobs --profile nowhere", want: `there is no profile "nowhere"`},
		"profile and address": {args: "jobs --profile other", environ: operator(t), want: "wins over --profile"},
		"no such limit":       {args: "run --limit speed=3 -", environ: operator(t), want: "there are memoryBytes"},
		"no size":             {args: "run --memory much -", environ: operator(t), want: "want a number, perhaps with K, M or G"},
		"no module":           {args: "run --package alpha --preload ../a -", environ: operator(t), want: "preload[0]"},
		"no module of a job":  {args: "submit --package alpha --preload ../a -", environ: operator(t), want: "preload[0]"},
		"of a session":        {args: "sessions open --package alpha --preload ../a", environ: operator(t), want: "preload[0]"},
		"of an environment":   {args: "packages prepare alpha --preload ../a", environ: operator(t), want: "preload[0]"},
		"two places":          {args: "cp a b", environ: operator(t), want: "one of both is in a session"},
		"no programs":         {args: "map nowhere.ndjson", environ: operator(t), want: "nowhere.ndjson"},
		"no mode":             {args: "bench --mode quick", environ: operator(t), want: "choose among [sync async session mixed]"},
		"no terminal":         {args: "repl", environ: operator(t), want: "kaa repl needs a terminal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := child(t, tt.environ, strings.Fields(tt.args)...)
			cmd.Stdin = strings.NewReader("1")
			got := run(t, cmd)
			if got.code != 125 || !strings.Contains(got.stderr, tt.want) || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("kaa %s: %+v, want %q", tt.args, got, tt.want)
			}
		})
	}
}

// TestDaily is a day with kaa: a login, programs, jobs, a session with files, many programs, and JSON of all of it.
func TestDaily(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ok.py", "print(6 * 7)")
	write("bad.py", "print('before'); 1 / 0")
	write("jobs.ndjson", `{"code": "print(1)"}`+"\n\n"+`{"code": "exit(3)"}`+"\n")
	environ := []string{"HOME=" + dir}
	kaa := func(code int, args string) ran {
		t.Helper()
		cmd := child(t, environ, strings.Fields(args)...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(operatorKey+"\n")
		got := run(t, cmd)
		if got.code != code {
			t.Fatalf("kaa %s: %+v, want the exit code %d", args, got, code)
		}
		return got
	}
	has := func(what, text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", what, want, text)
			}
		}
	}
	kaa(0, "login "+start(t))
	if info, err := os.Stat(filepath.Join(dir, ".config/kaa/config.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the profiles: %v, %v", info, err)
	}
	profiles := kaa(0, "profiles")
	has("profiles", profiles.stdout, "default  "+start(t)+"  yes  yes")
	if strings.Contains(profiles.stdout, operatorKey) {
		t.Error("profiles show a key")
	}
	has("run", kaa(1, "run bad.py").stderr, "ZeroDivisionError")
	var result struct{ Status, Stdout string }
	if text := kaa(1, "run --json bad.py").stdout; json.Unmarshal([]byte(text), &result) != nil || result.Status != "error" || result.Stdout != "before\n" {
		t.Errorf("run --json: %s", text)
	}
	id := strings.TrimSpace(kaa(0, "submit --metadata a=b ok.py").stdout)
	has("logs", kaa(0, "jobs logs -f "+id).stdout, "42\n")
	has("logs of a job that has ended", kaa(0, "jobs logs "+id).stdout, "42\n")
	has("a job", kaa(0, "jobs get "+id).stdout, "completed  ok", "exit code")
	has("jobs", kaa(0, "jobs ls -n 100").stdout, id)
	has("submit -F", kaa(1, "submit -F bad.py").stderr, "ZeroDivisionError")
	mapped := kaa(1, "map ok.py jobs.ndjson --memory 64M")
	has("map", mapped.stdout, `{"program":"ok.py","index":0,`, `{"program":"jobs.ndjson:3",`)
	has("its summary", mapped.stderr, "3 of 3 programs: 2 ok, 1 exit")
	if got := kaa(0, "map ok.py --out results.ndjson"); got.stdout != "" {
		t.Errorf("map --out prints %q", got.stdout)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "results.ndjson")); err != nil || !strings.HasPrefix(string(text), `{"program":"ok.py","index":0,`) {
		t.Errorf("map --out: %v, %q", err, text)
	}
	has("map --out in no directory", kaa(125, "map ok.py --out none/results.ndjson").stderr, "none/results.ndjson: no such file or directory")
	completes := func(line, want string) { // on a machine that is busy for seconds there is no answer
		t.Helper()
		testenv.Eventually(t, "the completion of "+line, func() bool { return strings.Contains(kaa(0, "__complete "+line).stdout, want) })
	}
	completes("jobs logs x", id+"\tcompleted, default\n")
	session := strings.TrimSpace(kaa(0, "sessions open --name daily").stdout)
	kaa(0, "run -s daily ok.py")
	kaa(0, "cp ok.py daily:src/a.py")
	has("cp to standard output", kaa(0, "cp daily:src/a.py -").stdout, "print(6 * 7)")
	kaa(0, "cp daily:src copy")
	kaa(0, "cp copy "+session+":/tmp/again")
	has("a copy of a copy", kaa(0, "exec daily -- cat /tmp/again/a.py").stdout, "print(6 * 7)")
	has("a fork", kaa(0, "sessions fork daily --json").stdout, `"forkedFrom":"`+session)
	has("sessions", kaa(0, "sessions ls --json").stdout, `"name":"daily"`)
	for _, line := range []string{"sessions get d", "exec d", "run --session d", "repl -s d"} {
		completes(line, "daily\tidle\n"+session)
	}
	has("top", kaa(0, "top").stdout, "RUNNER", "SESSION", "daily")
	has("versions", kaa(0, "version --check --json").stdout, `"same":true`)
	has("the end of a session", kaa(0, "sessions rm daily").stdout, session+" is ended")
	kaa(0, "logout")
	has("after the logout", kaa(125, "jobs").stderr, "kaa login")
	if words := kaa(0, "__complete volumes delete x"); words.stdout != ":36\n" || strings.Contains(words.stderr, "rror") {
		t.Errorf("the completion without a Kaa: %+v", words)
	}
	has("completion", kaa(0, "completion bash").stdout, "complete -o default")
}

// TestBench: an open loop executes all that is due, however slow it is, and the figures have their form.
func TestBench(t *testing.T) {
	t.Parallel()
	args := []string{
		"bench", "--json", "--mode", "mixed", "--rate", "100", "--duration", "100ms", "--warm-up", "0s", "--spawns", "2", "--python", testenv.SystemPython(), "--compare", start(t),
	}
	got := run(t, child(t, operator(t), args...))
	var report struct {
		Loop    string
		Targets []struct {
			Executions int
			Times      struct{ Count int }
			OfBare     float64
		}
		Bare struct{ Count int }
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	if report.Loop != "open" || len(report.Targets) != 2 || report.Bare.Count != 2 {
		t.Fatalf("%s", got.stdout)
	}
	for _, f := range report.Targets {
		if f.Executions != 10 || f.Times.Count != 10 || f.OfBare <= 0 {
			t.Errorf("%+v", f)
		}
	}
	failing := run(t, child(t, operator(t), "bench", "--rate", "100", "--duration", "20ms", "--warm-up", "0s", "--python", "", "-c", "1/0"))
	if failing.code != 1 || !strings.Contains(failing.stderr, "2 executions failed: the code ended with error: ZeroDivisionError") || !strings.Contains(failing.stdout, "TARGET") {
		t.Errorf("code that fails: %+v", failing)
	}
}
