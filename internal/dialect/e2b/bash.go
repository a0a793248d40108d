package e2b

import (
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	bash = "bash"
	// bashPrefix begins the id of a context for bash as clients have it. So an execution knows the language without a look at the context.
	bashPrefix = "bash-"
)

func isBash(language string) bool { return strings.EqualFold(language, bash) }

// contextID is the id of a context in Kaa, from one that a client has.
func contextID(given string) (id string, bash bool) {
	return strings.CutPrefix(given, bashPrefix)
}

// shownID is the id of a context as clients have it.
func shownID(c job.Context) string {
	if c.Language == bash {
		return bashPrefix + c.ID
	}
	return c.ID
}

// bashShell is the shell around a script: $1 is a directory, and $2 the script. The file state there is what the shell before has left.
const bashShell = `. "$1/state" >/dev/null 2>&1
__at=$1 __script=$2
set --
__save() {
	__code=$?
	trap - EXIT
	{ declare -p | grep -v '^declare -[a-zA-Z]*r'; declare -f; alias -p; printf 'cd -- %q\n' "$PWD"; } >"$__at/new" 2>/dev/null
	mv -f "$__at/new" "$__at/state" 2>/dev/null
	exit $__code
}
trap __save EXIT
shopt -s expand_aliases
eval "$__script"`

// bashPython has bash execute a script. The interpreter keeps the state in between, so a restart clears it, and a fork has it.
const bashPython = `import subprocess, sys, tempfile
kept = sys.__dict__.setdefault("_kaa_bash", {"state": b""})
sys.stdout.flush()
sys.stderr.flush()
with tempfile.TemporaryDirectory(prefix=".bash-") as at:
    with open(at + "/state", "wb") as file:
        file.write(kept["state"])
    code = subprocess.call(["/bin/bash", "-c", shell, "bash", at, script])
    with open(at + "/state", "rb") as file:
        kept["state"] = file.read()
if code:
    raise subprocess.CalledProcessError(code, "bash")
`

// bashCode is Python for a script of bash. A script has the variables, functions, aliases and the directory with which the script before
// it in that context has ended.
func bashCode(script string) string {
	quoted := strconv.QuoteToASCII
	return "exec(" + quoted(bashPython) + `, {"shell": ` + quoted(bashShell) + `, "script": ` + quoted(script) + "})"
}
