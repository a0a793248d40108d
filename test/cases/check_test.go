package cases_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// answer is what an execution produced.
type answer struct {
	Status   string `json:"status"`
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode *int   `json:"exitCode"`
	Error    *struct {
		Name      string `json:"name"`
		Value     string `json:"value"`
		Traceback string `json:"traceback"`
	} `json:"error"`
	Results []struct {
		Data map[string]json.RawMessage `json:"data"`
	} `json:"results"`
	Files []struct {
		Path string `json:"path"`
	} `json:"files"`

	live string // text of the events in their order, with values in brackets
	raw  string
}

// slowFonts is what matplotlib prints if its first look at the fonts takes over five seconds, as on a busy machine.
const slowFonts = "Matplotlib is building the font cache; this may take a moment.\n"

// check returns what of an answer is wrong.
func (e expect) check(a answer) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	equal := func(name, got string, want *string) {
		if want != nil && got != *want {
			bad("%s is %q, want %q", name, got, *want)
		}
	}
	has := func(name, text string, parts, lacks []string) {
		for _, part := range parts {
			if !strings.Contains(text, part) {
				bad("%s lacks %q", name, part)
			}
		}
		for _, part := range lacks {
			if strings.Contains(text, part) {
				bad("%s has %q", name, part)
			}
		}
	}
	name, traceback := "", ""
	if a.Error != nil {
		name, traceback = a.Error.Name, a.Error.Traceback
	}
	equal("status", a.Status, e.Status)
	equal("stdout", a.Stdout, e.Stdout)
	equal("stderr", strings.TrimPrefix(a.Stderr, slowFonts), e.Stderr)
	equal("error", name, e.Error)
	equal("live", a.live, e.Live)
	if e.ExitCode != nil && (a.ExitCode == nil || *a.ExitCode != *e.ExitCode) {
		bad("exitCode is %v, want %d", a.ExitCode, *e.ExitCode)
	}
	has("stdout", a.Stdout, e.StdoutHas, e.StdoutLacks)
	has("stderr", a.Stderr, e.StderrHas, e.StderrLacks)
	has("traceback", traceback, e.Traceback, e.NotTraceback)
	has("the answer", a.raw+"\n"+strings.Join(texts(a.raw), "\n"), e.AnyHas, e.AnyLacks)
	wrong = append(wrong, e.checkResults(a)...)
	if e.LinesRE != nil {
		re, odd := regexp.MustCompile("^(?:"+*e.LinesRE+")$"), 0
		for line := range strings.Lines(a.Stdout) {
			if !re.MatchString(strings.TrimSuffix(line, "\n")) {
				odd++
			}
		}
		if odd > e.LinesBad {
			bad("%d lines do not match, want at most %d", odd, e.LinesBad)
		}
	}
	for _, f := range a.Files {
		if e.FilesLack != nil && strings.HasPrefix(f.Path, *e.FilesLack) {
			bad("file %q", f.Path)
		}
	}
	return wrong
}

// checkResults looks at what the code showed.
func (e expect) checkResults(a answer) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if e.Results != nil && len(a.Results) != *e.Results {
		bad("%d results, want %d", len(a.Results), *e.Results)
	}
	shown, pngs, mimes := 0, 0, map[string]bool{}
	var data []json.RawMessage
	for _, r := range a.Results {
		if len(r.Data) > 1 || len(r.Data["text/plain"]) > len(`""`) {
			shown++
		}
		if r.Data["image/png"] != nil {
			pngs++
		}
		for mime, form := range r.Data {
			mimes[mime] = true
			if mime == "application/json" {
				data = append(data, form)
			}
		}
	}
	if e.ResultsMin != nil && shown < *e.ResultsMin {
		bad("%d results show something, want at least %d", shown, *e.ResultsMin)
	}
	if e.PNG != nil && pngs != *e.PNG {
		bad("%d images, want %d", pngs, *e.PNG)
	}
	found := len(e.AnyMIME) == 0
	for _, mime := range e.AnyMIME {
		found = found || mimes[mime]
	}
	if !found {
		bad("no result has one of %v", e.AnyMIME)
	}
	all := fmt.Sprintf("%s", data)
	for _, part := range e.JSONHas {
		if !strings.Contains(all, part) {
			bad("no application/json has %q: %s", part, all)
		}
	}
	if e.JSON != nil {
		same := false
		for _, form := range data {
			var got any
			same = same || json.Unmarshal(form, &got) == nil && reflect.DeepEqual(got, any(e.JSON))
		}
		if !same {
			bad("no application/json is %v: %s", e.JSON, all)
		}
	}
	return wrong
}

// texts returns all strings in a JSON text, as they read.
func texts(raw string) []string {
	var v any
	if json.Unmarshal([]byte(raw), &v) != nil {
		return nil
	}
	var found []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			found = append(found, v)
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(v)
	return found
}
