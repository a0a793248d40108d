package job

import (
	"fmt"
	"strings"
)

const (
	// maxCommandLine is the largest shell line. The kernel takes no longer argument of a program.
	maxCommandLine = 128<<10 - 1
	// maxPath is the longest path that the kernel takes.
	maxPath = 4095
	// codeOfCommand is the code of an execution that is a command. A runner of an earlier release
	// executes it instead of the command, which it does not know.
	codeOfCommand = `raise NotImplementedError("the runner that took this is of an earlier release of Kaa and cannot execute commands; update it and send the command again")`
)

// command checks the command of a request; nil if it has none.
func (l Limits) command(v *validation, r Request) *Command {
	isLine, isProgram := r.Command != "", len(r.Program) > 0
	field := "command"
	if isProgram {
		field = "argv"
	}
	if !isLine && !isProgram {
		checkPath(v, "cwd", r.Cwd)
		return nil
	}
	for _, other := range []struct {
		field string
		given bool
		why   string
	}{
		{"argv", isLine && isProgram, "cannot be combined with command; send one of them"},
		{"code", r.Code != "", "cannot be combined with " + field + "; send one of them"},
		{"args", len(r.Argv) > 0, "is for code; write the arguments of a program into " + field},
		{"figureFormats", len(r.FigureFormats) > 0, "is for code; a command makes no figures"},
		{"contextId", r.ContextID != "", "is for code; a command runs beside all contexts of its session"},
		{"files", r.SessionID != "" && len(r.Files) > 0, "cannot be combined with " + field + " in a session; put files into the session first (POST /v1/sessions/{id}/files)"},
	} {
		if other.given {
			v.add(other.field, "%s", other.why)
		}
	}
	l.checkLine(v, r.Command)
	l.checkProgram(v, r.Program)
	checkPath(v, "cwd", r.Cwd)
	return &Command{Line: r.Command, Argv: r.Program, Cwd: r.Cwd}
}

// besideSession completes the command of a session, which runs in a lane of its own.
func (l Limits) besideSession(v *validation, r Request, j *Job, c *Command) {
	j.Lane = LaneBeside
	for _, name := range []string{"cpuSeconds", "resultBytes"} {
		if _, given := r.Limits[name]; given {
			v.add("limits."+name, "is not for commands of a session; their time is limited by timeout")
		}
	}
	if t := r.Terminal; t != nil {
		checkSize(v, "terminal.", *t)
		c.Terminal = t
	}
	c.Input, c.Attach = (r.Background || r.Terminal != nil) && r.Stdin == "", r.Attach
	c.Background, c.Port = r.Background, r.Port
	if r.Background {
		// Without a timeout it may go on until the session ends.
		longest := max(l.MaxTimeout, l.Sessions.MaxAge)
		if l.ofKey[timeoutCeiling] {
			longest = l.MaxTimeout
		}
		j.Timeout = v.secondsOf("timeout", r.Timeout, minTimeout, longest, longest, l.ownCeiling(timeoutCeiling))
	}
}

// maxColumns is the largest number of columns or rows of a terminal.
const maxColumns = 4096

func checkSize(v *validation, within string, t TerminalSize) {
	if t.Columns < 1 || t.Columns > maxColumns {
		v.add(within+"columns", "must be from 1 to %d", maxColumns)
	}
	if t.Rows < 1 || t.Rows > maxColumns {
		v.add(within+"rows", "must be from 1 to %d", maxColumns)
	}
}

// CheckMessage checks a message to a command.
func CheckMessage(m CommandMessage) error {
	var v validation
	if m.Size != nil {
		checkSize(&v, "", *m.Size)
	}
	if m.Signal != "" && !IsSignal(m.Signal) {
		v.add("signal", "%s is not a signal; send a name such as INT, TERM, KILL, HUP or USR1", quote(m.Signal))
	}
	if len(m.Data) > MaxCommandInput {
		v.add("data", "is %d bytes long, the limit is %d; send it in several calls", len(m.Data), MaxCommandInput)
	}
	if len(v.fields) > 0 {
		return &ValidationError{Fields: v.fields}
	}
	return nil
}

func (l Limits) checkLine(v *validation, line string) {
	most := min(l.MaxCodeBytes, maxCommandLine)
	switch {
	case line != "" && strings.TrimSpace(line) == "":
		v.add("command", "is empty; send a line for the shell")
	case len(line) > most:
		v.add("command", "is %d bytes long, the limit is %d; send a longer script as a file, and a command that executes it", len(line), most)
	}
	if i := strings.IndexByte(line, 0); i >= 0 {
		v.add("command", "contains a NUL byte at offset %d, which a shell line cannot; remove it", i)
	}
}

func (l Limits) checkProgram(v *validation, argv []string) {
	if len(argv) > 0 && argv[0] == "" {
		v.add("argv[0]", "is empty; send the name or path of a program")
	}
	l.checkArguments(v, "argv", argv)
}

func checkPath(v *validation, field, path string) {
	if len(path) > maxPath {
		v.add(field, "is %d bytes long, the limit is %d", len(path), maxPath)
	}
	if strings.IndexByte(path, 0) >= 0 {
		v.add(field, "contains a NUL byte, which a path cannot; remove it")
	}
}

// checkArguments checks the arguments of a program.
func (l Limits) checkArguments(v *validation, field string, argv []string) {
	if len(argv) > maxArgs {
		v.add(field, "has %d arguments, the limit is %d", len(argv), maxArgs)
		return
	}
	size := 0
	for i, arg := range argv {
		size += len(arg)
		if strings.IndexByte(arg, 0) >= 0 {
			v.add(fmt.Sprintf("%s[%d]", field, i), "contains a NUL byte, which an argument cannot; remove it")
		}
	}
	if size > l.MaxEnvBytes {
		v.add(field, "is %d bytes long in all, the limit is %d", size, l.MaxEnvBytes)
	}
}
