package app_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestExamples runs what examples/ has, as a user would.
func TestExamples(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_CONCURRENCY=4")
	tests := []struct {
		script string
		want   []string // in the output, in this order
	}{
		{"agent.py", []string{"{'month': 'jan', 'sales': '120'}", "KeyError: 'sale'", "mar 50.0"}},
		{"tools.py", []string{"Rome 31", "Paris no station in Paris", "ordered for ['Rome'] for 13.5 euros"}},
		{"search.py", []string{"degree = 1", "degree = 4", "going on with"}},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			k.example(t, tt.want, tt.script)
		})
	}
	t.Run("chart.py", func(t *testing.T) {
		t.Parallel()
		with := start(t, 1, "KAA_PYTHON="+testenv.LibsPython(t))
		with.example(t, []string{"sum", "wrote chart.png", "wrote weeks.csv"}, "chart.py", t.TempDir())
	})
}

// TestExampleWithoutKaa: an example says in a line that no Kaa answers.
func TestExampleWithoutKaa(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"agent.py", "tools.py"} {
		cmd := exec.CommandContext(t.Context(), testenv.SystemPython(), "../../examples/"+script)
		cmd.Env = append(os.Environ(), "KAA_URL=http://127.0.0.1:1", "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 1 || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "Nothing answers at http://127.0.0.1:1") {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// example runs a script of examples/ against this Kaa.
func (k *kaa) example(t *testing.T, want []string, script string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.SystemPython(), append([]string{"../../examples/" + script}, args...)...)
	cmd.Env = append(os.Environ(), "KAA_URL="+k.url, "KAA_API_KEY="+k.key, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rest := string(out)
	for _, text := range want {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("no %q in\n%s", text, out)
		}
		rest = after
	}
}
