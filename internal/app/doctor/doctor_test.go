package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/app/doctor"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) {
	if name := testenv.ChildName(); name != "" {
		os.Exit(child(name))
	}
	os.Exit(testenv.Main(m))
}

// child is `kaa doctor` as a process.
func child(name string) int {
	code, err := doctor.Run(context.Background(), os.Environ(), os.Stdout, os.Stderr, name == "doctor --json")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return code
}

// environ is the environment of a runner on a Redis; vars are NAME=VALUE.
func environ(t *testing.T, vars ...string) config.Environment {
	t.Helper()
	return append(config.Environment{"KAA_REDIS_URL=" + testenv.Redis(t).URL, "KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + t.TempDir()}, vars...)
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, unfit string
		vars        []string
		code        int
		want        []string // lines, with one blank for many
	}{
		{"strict", testenv.Fit, nil, 0, []string{
			"[strict]", "user namespace yes", "proc yes", "seccomp yes", "memory control yes", "python yes Python 3.", "Redis yes " + testenv.Loopback() + ":", "records yes none with a version yet",
			"KAA_SANDBOX=strict: it holds",
		}},
		{"basic", testenv.Fit, []string{"KAA_SANDBOX=basic"}, 0, []string{"[strict]", "[basic]", "KAA_SANDBOX=basic: it holds"}},
		{"none", testenv.Fit, []string{"KAA_SANDBOX=none"}, 0, []string{"[none]", "KAA_SANDBOX=none: it holds"}},
		{"auto", testenv.Fit, []string{"KAA_SANDBOX=auto"}, 0, []string{"KAA_SANDBOX=auto: a runner would start at strict"}},
		{"no Redis", testenv.Fit, []string{"KAA_REDIS_URL=redis://:secret@127.0.0.1:1"}, 0, []string{"Redis no dial tcp 127.0.0.1:1", "KAA_SANDBOX=strict: it holds"}},
		{"identity provider", testenv.Fit, []string{"KAA_OIDC_ISSUER=" + testenv.NewIssuer(t).URL, "KAA_OIDC_AUDIENCE=kaa"}, 0, []string{"[callers]", "identity provider yes http://127.0.0.1:", "KAA_SANDBOX=strict: it holds"}},
		{"no identity provider", testenv.Fit, []string{"KAA_OIDC_ISSUER=http://127.0.0.1:1", "KAA_OIDC_AUDIENCE=kaa"}, 0, []string{"identity provider no ask the identity provider: Get \"http://127.0.0.1:1/.well-known/openid-configuration\": dial tcp", "API processes have to reach it", "KAA_SANDBOX=strict: it holds"}},
		{"installer", testenv.Fit, []string{"KAA_SANDBOX=none", "KAA_UV=" + testenv.SystemPython()}, 0, []string{"[packages]", "installer yes " + testenv.SystemPython(), "KAA_SANDBOX=none: it holds"}},
		{"no installer", testenv.Fit, []string{"KAA_SANDBOX=none", "KAA_PACKAGES=on", "KAA_UV=/nowhere/uv"}, 0, []string{"installer no KAA_UV: ", "install uv, set KAA_UV to its path, or refuse packages with KAA_PACKAGES=off", "KAA_SANDBOX=none: it holds"}},
		{"runtimes", testenv.Fit, []string{"KAA_RUNTIMES=a=" + testenv.SystemPython() + ":json,csv;b=/nowhere;c=" + testenv.SystemPython() + ":no_such_module"}, 1, []string{
			"a yes Python 3.", "preloaded: json, csv", "b no interpreters", "c no start interpreter pool", "No module named 'no_such_module'",
			"KAA_SANDBOX=strict: it holds, but a runner would not start: a runtime does not",
		}},
		{"configuration", testenv.Fit, []string{"KAA_SANDBOX=high"}, 1, []string{`KAA_SANDBOX is "high"`}},
		{"no user namespaces", testenv.NoUserNS, nil, 1, []string{
			"user namespace no no space left on device allow user namespaces: on the host set sysctl user.max_user_namespaces above 0",
			"ipc namespace unknown", "seccomp unknown", "[basic]", "seccomp yes", "python unknown the sandbox does not hold: user namespace",
			"KAA_SANDBOX=strict: it does not hold; a runner would not start",
		}},
		{"no user namespaces, auto", testenv.NoUserNS, []string{"KAA_SANDBOX=auto"}, 0, []string{
			"user namespace no", "seccomp yes", "python yes Python 3.", "KAA_SANDBOX=auto: a runner would start at basic",
		}},
		{"no network namespaces", testenv.NoNetNS, nil, 1, []string{
			"user namespace yes", "landlock unknown", "proc unknown",
			"network namespace no no space left on device allow network namespaces: on the host set sysctl user.max_net_namespaces above 0",
			"python unknown the sandbox does not hold: network namespace",
		}},
		{"masked proc", testenv.MaskedProc, nil, 1, []string{
			"mount namespace yes", "pid namespace yes", "proc no", "systempaths=unconfined", "network namespace unknown", "seccomp unknown", "[basic]", "seccomp yes",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := testenv.Child(t, "doctor", tt.unfit, environ(t, tt.vars...)).CombinedOutput()
			if code := testenv.ExitCode(err); code != tt.code {
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

// TestDoctorShowsTheVersionOfRecords: those of this release, and those that are too new for it. They
// are in no way a reason for the sandbox not to hold.
func TestDoctorShowsTheVersionOfRecords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		readBy int
		want   string
	}{
		{"work", 1, "records yes version 9, since Kaa v9.1.0"},
		{"too new", 8, "records no the records in Redis have version 9, since Kaa v9.1.0 has worked on them, and need a process of version 8 at least; this Kaa has version 1."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := testenv.Redis(t)
			if err := db.Client(t).HSet(t.Context(), "{kaa}:schema", "version", 9, "read_by", tt.readBy, "by", "v9.1.0").Err(); err != nil {
				t.Fatal(err)
			}
			out := new(strings.Builder)
			code, err := doctor.Run(t.Context(), environ(t, "KAA_SANDBOX=none", "KAA_REDIS_URL="+db.URL), out, out, false)
			if text := strings.Join(strings.Fields(out.String()), " "); err != nil || code != 0 || !strings.Contains(text, tt.want) {
				t.Errorf("%d %v %s", code, err, text)
			}
		})
	}
}

func TestDoctorJSON(t *testing.T) {
	t.Parallel()
	out, err := testenv.Child(t, "doctor --json", testenv.Fit, environ(t, "KAA_PRELOAD=json")).Output()
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

// TestDoctorWithoutConfiguration: who has configured nothing is not told to start a Redis for
// what needs none.
func TestDoctorWithoutConfiguration(t *testing.T) {
	t.Parallel()
	var out testenv.Buffer
	vars := config.Environment{"KAA_SANDBOX=none", "KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + t.TempDir()}
	if code, err := doctor.Run(t.Context(), vars, &out, &out, false); err != nil || code != 0 {
		t.Errorf("exit code %d, %v\n%s", code, err, out.String())
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	if !strings.Contains(text, "kaa dev and kaa run need none") && !strings.Contains(text, "Redis yes 127.0.0.1:6379") {
		t.Error(out.String())
	}
}
