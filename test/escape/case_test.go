package escape_test

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	//go:embed cases/*.py
	caseFiles embed.FS
	//go:embed kit.py
	kit string
	//go:embed victim.py
	victimCode string
)

// groups are what the names of the cases begin with.
var groups = []string{
	"bomb", "cgroup", "env", "exec", "files", "kill", "leave", "link", "net", "other", "priv", "proc", "proto", "sig", "sys",
}

// minCases is how many the suite has at least.
const minCases = 60

// escapeCase is a program of cases/. Its file begins with lines of the form
// `# key: value`:
//
//	tries        what it tries
//	strict       what it must get at the level strict
//	basic        what it must get at the level basic, or `not protected: why`
//	end          how its execution must end, alternatives separated by |:
//	             `ok HELD` (its last line is HELD), a status, a status and the
//	             name of the error, or `any`
//	timeout      its limit in seconds; default 20
//	limits       further limits of the request, as JSON
//	envs         variables of the request, as JSON
//	network      its network at the level strict, as JSON: others have none
//	unsandboxed  what it gets without any sandbox. Without this line it must say
//	             ESCAPED then, since a program that always holds tests nothing.
//	             `held because …` or `either because …` tell why that is not so.
type escapeCase struct {
	name          string
	tries         string
	strict, basic string
	ends          []ending
	timeout       time.Duration
	limits        map[string]any
	envs          map[string]string
	network       map[string]any
	unsandboxed   string
	code          string
}

// ending is one way in which an execution may end.
type ending struct{ status, detail string }

// held is the last line of a program that got nothing, escaped begins that of one
// that did.
const (
	held    = "HELD"
	escaped = "ESCAPED"
)

// protected says whether the level promises to hold the case.
func (c escapeCase) protected(level string) bool {
	return level != "basic" || !strings.HasPrefix(c.basic, "not protected: ")
}

// load reads all cases. What is wrong with any of them fails the test.
func load(t *testing.T) []escapeCase {
	t.Helper()
	entries, err := caseFiles.ReadDir("cases")
	if err != nil {
		t.Fatal(err)
	}
	var cases []escapeCase
	for _, e := range entries {
		text, err := caseFiles.ReadFile(path.Join("cases", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCase(strings.TrimSuffix(e.Name(), ".py"), string(text))
		if err != nil {
			t.Fatalf("cases/%s: %v", e.Name(), err)
		}
		cases = append(cases, c)
	}
	if len(cases) < minCases {
		t.Fatalf("%d cases, the suite has at least %d", len(cases), minCases)
	}
	return cases
}

func parseCase(name, text string) (escapeCase, error) {
	c := escapeCase{name: name, code: text, timeout: 20 * time.Second}
	if group, _, _ := strings.Cut(name, "-"); !slices.Contains(groups, group) {
		return c, fmt.Errorf("its name begins with none of %s", strings.Join(groups, ", "))
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ": ")
		if !ok || value == "" || seen[key] {
			return c, fmt.Errorf("header line %q is not `# key: value`, or is there twice", line)
		}
		seen[key] = true
		if err := c.set(key, value); err != nil {
			return c, fmt.Errorf("header %s: %w", key, err)
		}
	}
	for _, key := range []string{"tries", "strict", "basic", "end"} {
		if !seen[key] {
			return c, fmt.Errorf("header has no %s", key)
		}
	}
	if strings.Contains(c.tries+c.strict+c.basic, "|") {
		return c, fmt.Errorf("a | would end the cell of a table")
	}
	return c, nil
}

func (c *escapeCase) set(key, value string) (err error) {
	switch key {
	case "tries":
		c.tries = value
	case "strict":
		c.strict = value
	case "basic":
		c.basic = value
	case "unsandboxed":
		c.unsandboxed = value
		if !strings.HasPrefix(value, "held because ") && !strings.HasPrefix(value, "either because ") {
			err = fmt.Errorf("%q gives no reason", value)
		}
	case "end":
		c.ends, err = parseEndings(value)
	case "timeout":
		var seconds float64
		seconds, err = strconv.ParseFloat(value, 64)
		c.timeout = time.Duration(seconds * float64(time.Second))
	case "limits":
		err = json.Unmarshal([]byte(value), &c.limits)
	case "envs":
		err = json.Unmarshal([]byte(value), &c.envs)
	case "network":
		err = json.Unmarshal([]byte(value), &c.network)
	default:
		err = fmt.Errorf("unknown")
	}
	return err
}

func parseEndings(value string) ([]ending, error) {
	var ends []ending
	for text := range strings.SplitSeq(value, "|") {
		status, detail, _ := strings.Cut(strings.TrimSpace(text), " ")
		if !slices.Contains([]string{"ok", "error", "interrupted", "exit", "any"}, status) {
			return nil, fmt.Errorf("unknown status %q", status)
		}
		if status == "ok" && detail != held {
			return nil, fmt.Errorf("ok goes with %s", held)
		}
		ends = append(ends, ending{status, detail})
	}
	return ends, nil
}

// matches says whether a result is one of those that the case may have.
func (c escapeCase) matches(r result) bool {
	return slices.ContainsFunc(c.ends, func(e ending) bool {
		switch {
		case e.status == "any":
			return true
		case e.status != r.Status:
			return false
		case e.detail == "":
			return true
		case e.detail == held:
			return r.lastLine() == held
		}
		return r.Error.Name == e.detail
	})
}

// says what the ends are, for a message.
func (c escapeCase) wanted() string {
	var all []string
	for _, e := range c.ends {
		all = append(all, strings.TrimSpace(e.status+" "+e.detail))
	}
	return strings.Join(all, " or ")
}
