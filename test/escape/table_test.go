package escape_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	tableFile  = "README.md"
	tableBegin = "<!-- cases: begin -->\n"
	tableEnd   = "<!-- cases: end -->\n"
)

// The table that people read says what the programs' headers say.
func TestTable(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	want.WriteString("| case | tries | strict | basic |\n|---|---|---|---|\n")
	for _, c := range load(t) {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", c.name, c.tries, c.strict, c.basic)
	}
	raw, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(raw), tableBegin)
	got, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no lines %q and %q", tableFile, tableBegin, tableEnd)
	}
	if *update {
		if err := os.WriteFile(tableFile, []byte(head+tableBegin+want.String()+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Errorf("%s does not say what the headers say; go test ./test/escape -run TestTable -escape.update writes it", tableFile)
	}
}

func TestParseCase(t *testing.T) {
	t.Parallel()
	const good = "# tries: a\n# strict: b\n# basic: c\n# end: ok HELD\n"
	tests := []struct{ name, file, text, problem string }{
		{"good", "sys-x", good + "x = 1\n# not: a header\n", ""},
		{"all keys", "sys-x", good + "# timeout: 1.5\n# limits: {\"a\": 1}\n# envs: {\"A\": \"1\"}\n# unsandboxed: held because of that\n", ""},
		{"ends", "sys-x", strings.Replace(good, "ok HELD", "exit MemoryLimitExceeded | any | error", 1), ""},
		{"no group", "x", good, "begins with none"},
		{"missing key", "sys-x", strings.Replace(good, "# basic: c\n", "", 1), "has no basic"},
		{"unknown key", "sys-x", good + "# also: x\n", "unknown"},
		{"twice", "sys-x", good + "# end: any\n", "twice"},
		{"empty value", "sys-x", good + "# timeout: \n", "key: value"},
		{"free comment", "sys-x", good + "# Note that\n", "key: value"},
		{"bad status", "sys-x", strings.Replace(good, "ok HELD", "done", 1), "unknown status"},
		{"ok without HELD", "sys-x", strings.Replace(good, "ok HELD", "ok", 1), "goes with HELD"},
		{"bad timeout", "sys-x", good + "# timeout: soon\n", "timeout"},
		{"bad limits", "sys-x", good + "# limits: many\n", "limits"},
		{"no reason", "sys-x", good + "# unsandboxed: held\n", "no reason"},
		{"pipe", "sys-x", strings.Replace(good, "# tries: a", "# tries: a | b", 1), "cell"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseCase(tt.file, tt.text)
			if got := fmt.Sprint(err); (tt.problem == "" && err != nil) || !strings.Contains(got, tt.problem) && tt.problem != "" {
				t.Errorf("error %v, want %q", err, tt.problem)
			}
		})
	}
}
