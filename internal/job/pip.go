package job

import (
	"regexp"
	"slices"
	"strings"
)

// Code that was written for a notebook installs packages with lines that are no Python: %pip install requests. Kaa takes such
// lines out and installs the packages before the code begins.

// pipLine is such a line, with the words after install.
var pipLine = regexp.MustCompile(`^[%!] *(?:python3? +-m +)?pip3? +install\b(.*)$`)

// pipInstalls takes the lines that install packages out of code, and returns the packages. Lines of the rest keep their numbers.
func (l Limits) pipInstalls(v *validation, r *Request) (packages []string) {
	if !l.Packages.Allowed || !strings.Contains(r.Code, "pip") || !strings.ContainsAny(r.Code, "%!") {
		return nil
	}
	lines := strings.Split(r.Code, "\n")
	var s LineScanner
	for i, line := range lines {
		parts := pipLine.FindStringSubmatch(strings.TrimRight(line, " \t\r"))
		if parts == nil || s.Inside() {
			s.Scan(line)
			continue
		}
		lines[i] = ""
		named, option := pipArguments(parts[1])
		if option != "" {
			v.add("code", "has %s in line %d, which is for pip; name packages only", quote(option), i+1)
		}
		packages = append(packages, named...)
	}
	if len(packages) > 0 {
		r.Code = strings.Join(lines, "\n")
		if strings.TrimSpace(r.Code) == "" {
			r.Code = "pass"
		}
	}
	return packages
}

// IsPipInstall reports whether Kaa installs what a line of code names, in place of pip.
func IsPipInstall(line string) bool {
	parts := pipLine.FindStringSubmatch(strings.TrimRight(line, " \t\r"))
	if parts == nil {
		return false
	}
	packages, option := pipArguments(parts[1])
	return len(packages) > 0 && option == ""
}

// withoutEffect are options of pip that change nothing here.
var withoutEffect = []string{"-q", "-qq", "-qqq", "-U", "--quiet", "--upgrade", "--user", "--no-cache-dir", "--disable-pip-version-check"} //nolint:gochecknoglobals // a constant

// pipArguments returns the packages among the arguments of pip install, or the first word that is refused.
func pipArguments(text string) (packages []string, option string) {
	for _, word := range shellWords(text) {
		switch {
		case strings.ContainsAny(word, "&|;$`"):
			return nil, word // more than pip
		case slices.Contains(withoutEffect, word):
		case strings.HasPrefix(word, "-"):
			return nil, word
		default:
			packages = append(packages, word)
		}
	}
	return packages, ""
}

// shellWords splits a line as a shell does, up to a comment. A quoted part may have spaces; a quote without an end goes to the end of the line.
func shellWords(text string) (words []string) {
	var word strings.Builder
	open, begun := rune(0), false
	for _, c := range text {
		switch {
		case open != 0 && c == open:
			open = 0
		case open != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			open, begun = c, true
		case c == '#' && !begun:
			return words
		case c == ' ' || c == '\t':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// LineScanner knows whether a line of Python begins inside a string or brackets.
type LineScanner struct {
	quote string // of the string that is open; empty for none
	depth int    // of brackets
	joins bool   // the line before ends with a backslash
}

// Inside reports whether the next line does.
func (s *LineScanner) Inside() bool { return s.quote != "" || s.depth > 0 || s.joins }

// Scan reads a line.
func (s *LineScanner) Scan(line string) {
	s.joins = false
	for i := 0; i < len(line); i++ {
		if s.quote != "" {
			switch {
			case line[i] == '\\':
				i++
			case strings.HasPrefix(line[i:], s.quote):
				i += len(s.quote) - 1
				s.quote = ""
			}
			continue
		}
		switch line[i] {
		case '#':
			return
		case '(', '[', '{':
			s.depth++
		case ')', ']', '}':
			s.depth = max(0, s.depth-1)
		case '\\':
			s.joins = i == len(line)-1
		case '"', '\'':
			if s.quote = line[i : i+1]; strings.HasPrefix(line[i:], strings.Repeat(s.quote, 3)) {
				s.quote = strings.Repeat(s.quote, 3)
				i += 2
			}
		}
	}
	if len(s.quote) == 1 {
		s.quote = "" // a string of one line ends with it
	}
}
