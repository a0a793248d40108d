package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// childVariable makes the test binary one of Kaa's processes instead.
const childVariable = "TEST_PROCESS_OF_KAA"

// child is that process, until its standard input ends.
func child(name string) int {
	p := app.Process{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var err error
	switch name {
	case "doctor":
		err = app.Doctor(context.Background(), p, false)
	case "doctor --json":
		err = app.Doctor(context.Background(), p, true)
	case "runner":
		err = app.RunRunner(ctx, p)
	case "api":
		err = app.RunAPI(ctx, p)
	}
	var exit app.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	fmt.Fprintln(os.Stderr, err)
	return 3
}

// The ways in which a machine may be unfit for a level. Each is made in a user
// namespace of its own, so nothing outside it changes.
const (
	fit      = ""
	noUserNS = "echo 0 > /proc/sys/user/max_user_namespaces"
	noNetNS  = "echo 0 > /proc/sys/user/max_net_namespaces"
	// As container engines do it: then no fresh /proc may be mounted.
	maskedProc = "mount --bind /dev/null /proc/version"
)

// childCommand is a child on such a machine.
func childCommand(t *testing.T, name, unfit string, environ []string) *exec.Cmd {
	t.Helper()
	argv := []string{os.Args[0]}
	if unfit != fit {
		argv = []string{"/bin/sh", "-ec", unfit + "; exec \"$0\"", os.Args[0]}
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(environ, childVariable+"="+name, "PATH="+os.Getenv("PATH"))
	if unfit != fit {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
	}
	return cmd
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	tests := []struct {
		name, unfit string
		vars        []string
		code        int
		want        []string // lines, with one blank for many
	}{
		{"strict", fit, nil, 0, []string{
			"[strict]", "user namespace yes", "proc yes", "seccomp yes", "memory control yes", "python yes Python 3.", "Redis yes 127.0.0.1:",
			"KAA_SANDBOX=strict: it holds",
		}},
		{"basic", fit, []string{"KAA_SANDBOX=basic"}, 0, []string{"[strict]", "[basic]", "KAA_SANDBOX=basic: it holds"}},
		{"none", fit, []string{"KAA_SANDBOX=none"}, 0, []string{"[none]", "KAA_SANDBOX=none: it holds"}},
		{"auto", fit, []string{"KAA_SANDBOX=auto"}, 0, []string{"KAA_SANDBOX=auto: a runner would start at strict"}},
		{"no Redis", fit, []string{"KAA_REDIS_URL=redis://:secret@127.0.0.1:1"}, 0, []string{"Redis no dial tcp 127.0.0.1:1", "KAA_SANDBOX=strict: it holds"}},
		{"runtimes", fit, []string{"KAA_RUNTIMES=a=" + python() + ":json,csv;b=/nowhere;c=" + python() + ":no_such_module"}, 1, []string{
			"a yes Python 3.", "preloaded: json, csv", "b no interpreters", "c no start interpreter pool", "No module named 'no_such_module'",
			"KAA_SANDBOX=strict: it holds, but a runner would not start: a runtime does not",
		}},
		{"configuration", fit, []string{"KAA_SANDBOX=high"}, 1, []string{`KAA_SANDBOX is "high"`}},
		{"no user namespaces", noUserNS, nil, 1, []string{
			"user namespace no no space left on device allow user namespaces: on the host set sysctl user.max_user_namespaces above 0",
			"ipc namespace unknown", "seccomp unknown", "[basic]", "seccomp yes", "python unknown the sandbox does not hold: user namespace",
			"KAA_SANDBOX=strict: it does not hold; a runner would not start",
		}},
		{"no user namespaces, auto", noUserNS, []string{"KAA_SANDBOX=auto"}, 0, []string{
			"user namespace no", "seccomp yes", "python yes Python 3.", "KAA_SANDBOX=auto: a runner would start at basic",
		}},
		{"no network namespaces", noNetNS, nil, 1, []string{
			"user namespace yes", "landlock unknown", "proc unknown",
			"network namespace no no space left on device allow network namespaces: on the host set sysctl user.max_net_namespaces above 0",
			"python unknown the sandbox does not hold: network namespace",
		}},
		{"masked proc", maskedProc, nil, 1, []string{
			"mount namespace yes", "pid namespace yes", "proc no", "systempaths=unconfined", "network namespace unknown", "seccomp unknown", "[basic]", "seccomp yes",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := prepare(t, redis, tt.vars...)
			out, err := childCommand(t, "doctor", tt.unfit, k.environ).CombinedOutput()
			if code := exitCode(err); code != tt.code {
				t.Errorf("exit code %d (%v), want %d", code, err, tt.code)
			}
			text := strings.Join(strings.Fields(string(out)), " ")
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q", want)
				}
			}
			if strings.Contains(text, "secret") {
				t.Error("it shows a password")
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func TestDoctorJSON(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_PRELOAD=json")
	out, err := childCommand(t, "doctor --json", fit, k.environ).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type finding struct{ Name, Holds string }
	var d struct {
		Sandbox, Level, Kernel string
		Holds                  bool
		Levels                 []struct {
			Level  string
			Holds  bool
			Layers []finding
		}
		MemoryControl, Redis finding
		Runtimes             []struct {
			finding
			Python, Version string
			Modules         []string
		}
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	if !d.Holds || d.Level != "strict" || len(d.Levels) != 1 || !d.Levels[0].Holds || len(d.Levels[0].Layers) < 10 ||
		d.MemoryControl.Holds != "yes" || d.Redis.Holds != "yes" || len(d.Runtimes) != 1 || d.Runtimes[0].Holds != "yes" ||
		d.Runtimes[0].Name != "python" || fmt.Sprint(d.Runtimes[0].Modules) != "[json]" || d.Runtimes[0].Version == "" {
		t.Errorf("got %s", out)
	}
}

// A runner does not start where its level does not hold, and says what to change.
func TestRunnerRefusesToStart(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	for unfit, want := range map[string]string{
		noUserNS:   "set sysctl user.max_user_namespaces above 0",
		noNetNS:    "set sysctl user.max_net_namespaces above 0",
		maskedProc: "systempaths=unconfined",
	} {
		k := prepare(t, redis)
		cmd := childCommand(t, "runner", unfit, k.environ)
		stdin, err := cmd.StdinPipe() // it lives until this ends
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stdin.Close() }()
		out, err := cmd.CombinedOutput()
		if exitCode(err) != 3 {
			t.Errorf("%s: %v", unfit, err)
		}
		for _, want := range []string{"sandbox level strict does not hold here", want, "kaa doctor", "KAA_SANDBOX"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in:\n%s", unfit, want, out)
			}
		}
	}
}

// With KAA_SANDBOX=auto it starts at basic, and everybody can see that and why.
func TestRunnerFallsBackLoudly(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_SANDBOX=auto")
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	cmd := childCommand(t, "runner", noUserNS, k.environ)
	logs := new(safeBuffer)
	cmd.Stderr = logs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the runner registers", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/runners", nil).raw, `"sandbox":"basic"`)
	})
	runners := k.call(http.MethodGet, "/v1/runners", nil).raw
	for _, want := range []string{`{"name":"user namespace","holds":false,"detail":"no space left on device","advice":"allow user namespaces`, `{"name":"seccomp","holds":true}`} {
		if !strings.Contains(runners, want) {
			t.Errorf("no %s in %s", want, runners)
		}
	}
	if a := k.execute(fields{"code": "print(open('/proc/self/status').read().split('Seccomp:')[1].split()[0])"}); a.str("stdout") != "2\n" {
		t.Errorf("execution: %s", a.raw)
	}
	_ = stdin.Close()
	stopped := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Errorf("stop: %v", err)
	}
	testenv.Within(t, 10*time.Second, stopped)
	for _, want := range []string{"a sandbox level does not hold here; trying the next", "the sandbox is weaker than strict", `"level":"WARN"`} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, logs)
		}
	}
}

// TestDoctorWithoutConfiguration: who has configured nothing is not told to start a Redis for
// what needs none.
func TestDoctorWithoutConfiguration(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	environ := app.Environment{"KAA_SANDBOX=none", "KAA_PYTHON=" + python(), "KAA_WORK_DIR=" + t.TempDir()}
	if err := app.Doctor(t.Context(), app.Process{Environ: environ, Stdout: &out, Stderr: &out}, false); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	if !strings.Contains(text, "kaa dev and kaa run need none") && !strings.Contains(text, "Redis yes 127.0.0.1:6379") {
		t.Error(out.String())
	}
}
