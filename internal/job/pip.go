package job

import (
	"regexp"
	"strings"
)

// Code that was written for a notebook installs packages with lines that are no Python: %pip install requests. Kaa takes such
// lines out and installs the packages before the code begins.

// pipLine is such a line, with the words after install.
var pipLine = regexp.MustCompile(`^[%!] *(?:python3? +-m +)?pip3? +install\b(.*)$`)

// pipInstalls takes the lines that install packages out of code, and returns the packages. Lines of the rest keep their numbers.
func (l Limits) pipInstalls(v *validation, r *Request) (packages []string) {
	if !l.Packages.Allowed || r.ContextID != "" || !strings.Contains(r.Code, "pip") || !strings.ContainsAny(r.Code, "%!") {
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
		for word := range strings.FieldsSeq(parts[1]) {
			switch word = strings.Trim(word, `"'`); {
			case strings.HasPrefix(word, "#"):
			case word == "-q", word == "-qq", word == "-qqq", word == "-U", word == "--quiet", word == "--upgrade", word == "--user", word == "--no-cache-dir", word == "--disable-pip-version-check":
				continue
			case strings.HasPrefix(word, "-"):
				v.add("code", "has the option %s of pip in line %d; name packages only", quote(word), i+1)
			default:
				packages = append(packages, word)
				continue
			}
			break
		}
	}
	if len(packages) > 0 {
		r.Code = strings.Join(lines, "\n")
		if strings.TrimSpace(r.Code) == "" {
			r.Code = "pass"
		}
	}
	return packages
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
