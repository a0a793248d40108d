package interpreter_test

import (
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// Code, its children and the children's shells open the standard streams by their names.
func TestStreamsByName(t *testing.T) {
	t.Parallel()
	const code = `
import subprocess
for name in "/dev/stdout", "/proc/self/fd/1":
    with open(name, "w") as file:
        print(name, file=file)
subprocess.run("echo careful > /dev/stderr; echo children > /proc/self/fd/1", shell=True, check=True)
`
	const stdout, stderr = "/dev/stdout\n/proc/self/fd/1\nchildren\n", "careful\n"
	check := func(t *testing.T, res job.Result, stdout string) {
		t.Helper()
		if res.Status != job.StatusOK || res.Stdout != stdout || res.Stderr != stderr {
			t.Errorf("%s, stdout %q, stderr %q", outcome(res), res.Stdout, res.Stderr)
		}
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := shared(t, withLevel(level))
		check(t, execute(t, pool, job.Spec{Code: code + "print(open('/dev/stdin').read())", Stdin: "5 7"}), stdout+"5 7\n")
		s := session(t, pool, job.SessionSpec{})
		check(t, step(t, s, job.Spec{Code: code}), stdout)
		copies, err := s.Fork(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := copies[0].Close(); err != nil {
				t.Error(err)
			}
		}()
		check(t, step(t, copies[0], job.Spec{Code: code}), stdout)
	})
}
