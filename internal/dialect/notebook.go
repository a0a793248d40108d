package dialect

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// NotebookCode makes Python of what a notebook takes: code with an indentation of the whole, lines for the shell (!),
// and the most common magics (%). Other lines stay as they are, with their numbers; with packages, also those for pip that Kaa carries out itself.
func NotebookCode(code string, packages bool) string {
	code = dedented(code)
	if first, rest, _ := strings.Cut(strings.TrimLeft(code, "\n"), "\n"); strings.HasPrefix(first, "%%") {
		return cellMagic(first[2:], rest, packages)
	}
	if !strings.ContainsAny(code, "!%") {
		return code
	}
	all := strings.Split(code, "\n")
	var s job.LineScanner
	for i, line := range all {
		if !s.Inside() {
			if packages && job.IsPipInstall(line) {
				continue
			}
			all[i] = lineMagic(line)
		}
		s.Scan(line)
	}
	return strings.Join(all, "\n")
}

// dedented takes away the indentation of the first line from all lines, if all have it.
func dedented(code string) string {
	all := strings.Split(code, "\n")
	indent := ""
	for _, line := range all {
		if text := strings.TrimLeft(line, " \t"); text != "" {
			indent = line[:len(line)-len(text)]
			break
		}
	}
	if indent == "" {
		return code
	}
	for i, line := range all {
		rest, ok := strings.CutPrefix(line, indent)
		if !ok && strings.TrimSpace(line) != "" {
			return code
		}
		all[i] = rest
	}
	return strings.Join(all, "\n")
}

// lineMagic translates a line that is no Python.
func lineMagic(line string) string {
	text := strings.TrimLeft(line, " \t")
	indent := line[:len(line)-len(text)]
	switch {
	case strings.HasPrefix(text, "!"):
		return indent + shell(strings.TrimPrefix(text[1:], "!"))
	case strings.HasPrefix(text, "%"):
		name, rest, _ := strings.Cut(text[1:], " ")
		return indent + magic(name, strings.TrimSpace(rest))
	}
	if name, command, ok := strings.Cut(text, "="); ok && isName(strings.TrimSpace(name)) && strings.HasPrefix(strings.TrimSpace(command), "!") {
		return indent + strings.TrimSpace(name) + " = " + captured(strings.TrimSpace(command)[1:])
	}
	return line
}

func isName(text string) bool {
	for i, c := range text {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// quoted is a text as a literal of Python.
func quoted(text string) string { return strconv.QuoteToASCII(text) }

// shell is a statement that executes a line of the shell, whose output is that of the code.
func shell(line string) string {
	return `if __import__("sys").stdout.flush() or __import__("subprocess").call(["/bin/bash", "-c", ` + filled(strings.TrimSpace(line)) + `]): pass`
}

// filled is an expression for a line of the shell: $name and {name} are variables of Python, if there are such, as in IPython.
func filled(line string) string {
	if !placeholder.MatchString(line) {
		return quoted(line)
	}
	return `__import__("re").sub(r"\$(\w+)|(?<!\$)\{(\w+)\}", lambda m: str(globals().get(m[1] or m[2], m[0])), ` + quoted(line) + `)`
}

var placeholder = regexp.MustCompile(`\$\w|\{\w+\}`)

// captured is an expression: the lines that a line of the shell puts out.
func captured(line string) string {
	return `__import__("subprocess").run(["/bin/bash", "-c", ` + filled(strings.TrimSpace(line)) + `], stdout=-1, stderr=-2, text=True).stdout.splitlines()`
}

// magic is a statement for a magic of one line.
func magic(name, rest string) string {
	switch name {
	case "pip":
		return shell("python3 -m pip " + rest)
	case "conda", "mamba", "sx", "system", "bash", "sh":
		return shell(rest)
	case "cd":
		path, quiet := strings.CutPrefix(rest+" ", "-q ")
		if path = strings.Trim(strings.TrimSpace(path), `"'`); path == "" {
			path = "~"
		}
		then := `print(__import__("os").getcwd())`
		if quiet {
			then = "None"
		}
		return `if __import__("os").chdir(__import__("os").path.expanduser(` + quoted(path) + `)) or ` + then + `: pass`
	case "pwd":
		return `__import__("os").getcwd()`
	case "ls":
		return shell("ls " + rest)
	case "env", "set_env":
		variable, value, ok := strings.Cut(rest, "=")
		if !ok {
			return `dict(__import__("os").environ)`
		}
		variable, value = strings.TrimSpace(variable), strings.TrimSpace(value)
		return `if __import__("os").environ.update({` + quoted(variable) + `: ` + quoted(value) + `}) or print(` + quoted("env: "+variable+"="+value) + `): pass`
	case "time", "timeit", "prun":
		return rest
	case "matplotlib", "load_ext", "reload_ext", "autoreload", "config", "precision", "xmode", "colors", "pylab":
		return "pass"
	}
	return `raise NameError(` + quoted("Line magic function `%"+name+"` not found.") + `)`
}

// cellMagic is Python for a magic of a whole cell, whose name the first line has.
func cellMagic(first, body string, packages bool) string {
	name, rest, _ := strings.Cut(strings.TrimSpace(first), " ")
	switch name {
	case "bash", "sh", "script":
		return shellCell(body)
	case "time", "timeit", "capture", "prun", "python", "python3":
		return "\n" + NotebookCode(body, packages)
	case "writefile", "file":
		return fileCell(strings.TrimSpace(rest), body)
	}
	return `raise NameError(` + quoted("Cell magic `%%"+name+"` not found.") + `)`
}

// shellCell has bash execute a script, and fails as it does.
func shellCell(script string) string {
	return `__import__("sys").stdout.flush() or __import__("subprocess").run(["/bin/bash", "-c", ` + quoted(script) + `], check=True) and None`
}

// fileCell writes a cell into a file.
func fileCell(path, body string) string {
	path, appends := strings.CutPrefix(path, "-a ")
	path = quoted(strings.Trim(strings.TrimSpace(path), `"'`))
	told, mode := `("Overwriting " if __import__("os").path.exists(`+path+`) else "Writing ")`, "w"
	if appends {
		told, mode = `"Appending to "`, "a"
	}
	return `if print(` + told + ` + ` + path + `) or __import__("io").open(` + path + `, "` + mode + `", encoding="utf-8").write(` +
		quoted(strings.TrimSuffix(body, "\n")+"\n") + `): pass`
}
