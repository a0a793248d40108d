package e2b

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestContextIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []job.Context{{ID: "default"}, {ID: "0198c2f0-6b7c-7def-8abc-0123456789ab"}, {ID: "0198c2f0-6b7c-7def-8abc-0123456789ab", Language: bash}} {
		id, isBash := contextID(shownID(c))
		if id != c.ID || isBash != (c.Language == bash) {
			t.Errorf("%+v: %s %t", c, id, isBash)
		}
	}
}

// TestBashCode: scripts in one interpreter share what a shell keeps, and an end of one is none of the others.
func TestBashCode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		scripts []string
		want    string
	}{
		"variables":                {[]string{"x='a b'; y=(1 '2 3'); export z=é", `echo "$x" "${y[1]}"; sh -c 'echo $z'`}, "a b 2 3\né\n"},
		"functions and aliases":    {[]string{"f() { echo \"f $1\"; }; alias g='f 2'", "f 1", "g"}, "f 1\nf 2\n"},
		"the directory":            {[]string{`mkdir -p "a 'b"; cd "a 'b"`, `basename "$PWD"`}, "a 'b\n"},
		"exit":                     {[]string{"x=1; exit 3", "echo $x"}, "!3\n1\n"},
		"a syntax error":           {[]string{"x=1", "if", "echo $x"}, "!2\n1\n"},
		"no arguments":             {[]string{`echo "$#" "$@"`}, "0\n"},
		"what Python would change": {[]string{"echo '%x' '!y' \\\\ \"'\""}, "%x !y \\ '\n"},
		"a readonly variable":      {[]string{"readonly r=1; x=2", "echo $x"}, "2\n"},
		"the end by a signal":      {[]string{"x=1", "x=2; kill -9 $$", "echo $x"}, "!-9\n1\n"},
		"text that would end it":   {[]string{"x='\n\"); exit 5 #'", `echo "${#x}"`}, "13\n"},
	} {
		var program strings.Builder
		program.WriteString("import subprocess, sys\n")
		for _, script := range tt.scripts {
			program.WriteString("try: " + bashCode(script) + "\nexcept subprocess.CalledProcessError as e: print('!%d' % e.returncode)\n")
		}
		command := exec.CommandContext(t.Context(), testenv.SystemPython(), "-c", program.String())
		command.Dir = t.TempDir()
		if out, err := command.Output(); err != nil || string(out) != tt.want {
			t.Errorf("%s: %q, want %q; %v", name, out, tt.want, err)
		}
	}
}
