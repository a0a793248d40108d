package cases_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oneCase is a file in data: a request with its right answer, or several for a session.
type oneCase struct {
	Name    string            `json:"name"`
	Kind    string            `json:"kind"`
	What    string            `json:"what"`
	Request oneOrMore[fields] `json:"request"`
	Expect  oneOrMore[expect] `json:"expect"`
}

type fields = map[string]any

// expect is what an answer has to be like; README.md explains its words.
type expect struct {
	Status       *string        `json:"status"`
	ExitCode     *int           `json:"exitCode"`
	Stdout       *string        `json:"stdout"`
	Stderr       *string        `json:"stderr"`
	Error        *string        `json:"error"`
	StdoutHas    []string       `json:"stdoutHas"`
	StdoutLacks  []string       `json:"stdoutLacks"`
	StderrHas    []string       `json:"stderrHas"`
	StderrLacks  []string       `json:"stderrLacks"`
	Traceback    []string       `json:"tracebackHas"`
	NotTraceback []string       `json:"tracebackLacks"`
	AnyHas       []string       `json:"anyHas"`
	AnyLacks     []string       `json:"anyLacks"`
	Results      *int           `json:"results"`
	ResultsMin   *int           `json:"resultsMin"`
	PNG          *int           `json:"png"`
	AnyMIME      []string       `json:"anyMime"`
	JSONHas      []string       `json:"jsonHas"`
	JSON         map[string]any `json:"json"`
	FilesLack    *string        `json:"filesLack"`
	Live         *string        `json:"live"`
	LinesRE      *string        `json:"linesRe"`
	LinesBad     int            `json:"linesBad"`
}

// oneOrMore is a list in which JSON may have one item without brackets.
type oneOrMore[T any] []T

// UnmarshalJSON refuses fields that are not known: a misspelt one would check nothing.
func (l *oneOrMore[T]) UnmarshalJSON(text []byte) error {
	if !strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		text = []byte("[" + string(text) + "]")
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	return dec.Decode((*[]T)(l))
}

func loadCases(t *testing.T) []oneCase {
	t.Helper()
	paths, err := filepath.Glob("data/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all []oneCase
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var c oneCase
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if c.Name+".json" != filepath.Base(path) || len(c.Request) != len(c.Expect) {
			t.Fatalf("%s: it is called %q and expects %d answers to %d requests", path, c.Name, len(c.Expect), len(c.Request))
		}
		for i, request := range c.Request {
			// A machine with much load needs longer than any time that seems enough.
			if want := c.Expect[i].Status; request["timeout"] != nil && want != nil && *want == "ok" {
				t.Fatalf("%s: it has a timeout and is to end before it; leave the timeout out: Kaa's is %s here", path, ample)
			}
		}
		all = append(all, c)
	}
	return all
}
