package job

import (
	"errors"
	"strings"
)

// The header of a script (PEP 723): comments between these lines, which are TOML.
const headerBegin, headerEnd = "# /// script", "# ///"

var errHeader = errors.New(`write them as a list of texts: # dependencies = ["requests", "pandas==2.2.3"]`)

// scriptPackages returns the dependencies in the header of code; nil if it has no header, or none in it.
func scriptPackages(code string) ([]string, error) {
	if !strings.Contains(code, headerBegin) {
		return nil, nil
	}
	var header strings.Builder
	inside := false
	for line := range strings.Lines(code) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case !inside:
			inside = line == headerBegin
		case line == headerEnd:
			return dependencies(header.String())
		case line == "#":
			header.WriteString("\n")
		case strings.HasPrefix(line, "# "):
			header.WriteString(line[2:] + "\n")
		default: // the end is missing, so these are comments
			return nil, nil
		}
	}
	return nil, nil
}

// dependencies reads the list of that name at the top of a TOML document.
func dependencies(text string) ([]string, error) {
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") { // a table begins
			return nil, nil
		}
		name, _, found := strings.Cut(trimmed, "=")
		if name = strings.TrimSpace(name); found && (name == "dependencies" || name == `"dependencies"`) {
			_, rest, _ := strings.Cut(text[strings.Index(text, line):], "=")
			return textList(rest)
		}
	}
	return nil, nil
}

// textList reads a list of texts at the beginning of TOML.
func textList(s string) ([]string, error) {
	s = strings.TrimLeft(s, " \t\n")
	if !strings.HasPrefix(s, "[") {
		return nil, errHeader
	}
	list := []string{}
	for s = s[1:]; ; {
		s = strings.TrimLeft(s, " \t\n")
		switch {
		case s == "":
			return nil, errHeader
		case s[0] == ']':
			return list, nil
		case s[0] == '#':
			_, s, _ = strings.Cut(s, "\n")
			continue
		case s[0] != '"' && s[0] != '\'':
			return nil, errHeader
		}
		end := strings.IndexAny(s[1:], s[:1]+"\n\\")
		if end < 0 || s[1+end] != s[0] {
			return nil, errHeader
		}
		list = append(list, s[1:1+end])
		s = strings.TrimLeft(s[end+2:], " \t\n")
		switch {
		case strings.HasPrefix(s, ","):
			s = s[1:]
		case !strings.HasPrefix(s, "]") && !strings.HasPrefix(s, "#"):
			return nil, errHeader
		}
	}
}
