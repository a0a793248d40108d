// Package cases_test runs programs whose right answers are known: what CPython gives for them
// as a script, what Jupyter gives, or what a user expects. data has a file for each.
package cases_test

import (
	"os"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestCases(t *testing.T) {
	t.Parallel()
	k := startKaa(t)
	for _, c := range loadCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			wrong := ""
			answers := k.run(t, c)
			for i, a := range answers {
				for _, w := range c.Expect[i].check(a) {
					wrong += w + "\n"
				}
			}
			if wrong != "" {
				last := answers[len(answers)-1]
				t.Errorf("%s\n%s\nThe last answer: %.3000s", c.What, wrong, last.raw)
			}
		})
	}
}

// The check itself finds what is wrong.
func TestCheck(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	number := func(n int) *int { return &n }
	a := answer{Status: "ok", Stdout: "a\nb\n", raw: `{"stdout":"a\nb\n","x":"\u00e9"}`}
	for name, e := range map[string]expect{
		"status": {Status: text("error")}, "stdout": {Stdout: text("a")}, "error": {Error: text("ValueError")},
		"has": {StdoutHas: []string{"c"}}, "lacks": {AnyLacks: []string{"é"}}, "exitCode": {ExitCode: number(0)},
		"results": {Results: number(1)}, "min": {ResultsMin: number(1)}, "png": {PNG: number(1)}, "mime": {AnyMIME: []string{"text/html"}},
		"json": {JSON: map[string]any{"a": 1}}, "lines": {LinesRE: text("[a]")}, "live": {Live: text("x")},
	} {
		if len(e.check(a)) == 0 {
			t.Errorf("%s: nothing is wrong", name)
		}
	}
	if wrong := (expect{Status: text("ok"), StdoutHas: []string{"a"}, AnyHas: []string{"é"}, LinesRE: text("[ab]")}).check(a); len(wrong) > 0 {
		t.Error(wrong)
	}
}
