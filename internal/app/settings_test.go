package app_test

import (
	"cmp"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/job"
)

// notSettings are variables that no server reads: of `kaa run`, of the tests, of the Makefile.
var notSettings = []string{
	"KAA_URL", "KAA_API_KEY", "KAA_RECORDS", "KAA_BIN", "KAA_CONFIG", "KAA_PROFILE", "KAA_HISTORY", "KAA_PICTURES",
	"KAA_TEST_LONG", "KAA_TEST_PYTHON", "KAA_TEST_PYTHONS", "KAA_LIBS_PYTHON", "KAA_LIBS_BARE_PYTHON", "KAA_BENCH_PYTHON",
}

// TestSettings holds the settings, their page, docker-compose.yml and all else that names them
// together, in both directions.
func TestSettings(t *testing.T) {
	t.Parallel()
	defaults := map[string]string{}
	for _, s := range config.Settings() {
		defaults[s.Name] = s.Default
	}
	documented := documentedSettings(t)
	for name, byDefault := range defaults {
		rows := documented[name]
		switch {
		case len(rows) != 1:
			t.Errorf("docs/configuration.md has %d rows for %s, want one", len(rows), name)
		case rows[0] != byDefault:
			t.Errorf("%s: docs/configuration.md says its default is %q, it is %q", name, rows[0], byDefault)
		}
	}
	for name := range documented {
		if _, ok := defaults[name]; !ok && !slices.Contains(notSettings, name) {
			t.Errorf("docs/configuration.md describes %s, which does not exist", name)
		}
	}
	passed := passedByCompose(t)
	for name := range defaults {
		// That file asks for keys in any case.
		if want := name != "KAA_ALLOW_ANONYMOUS"; passed[name] != want {
			t.Errorf("docker-compose.yml passes %s on: %v, want %v", name, passed[name], want)
		}
	}
	known := append(slices.Collect(maps.Keys(defaults)), notSettings...)
	for name, file := range mentionedSettings(t) {
		if !slices.Contains(known, name) {
			t.Errorf("%s names %s, which does not exist", file, name)
		}
	}
}

// TestLimitsPage holds the table of limits for callers and job.LimitTable together.
func TestLimitsPage(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile(`^\| .([a-zA-Z]+). \| (integer|number) \| [^|]+ \| ([0-9.]+) \| ([^|]+) \(.(KAA_[A-Z_]+).\) \| ([^|]+) \(.(KAA_MAX_[A-Z_]+).\) \|$`)
	_, section, _ := strings.Cut(text(t, "docs/api/execute.md"), "\n## Limits\n")
	rows := map[string][]string{}
	for line := range strings.SplitSeq(section, "\n") {
		if m := row.FindStringSubmatch(line); m != nil {
			rows[m[1]] = m[2:]
		}
	}
	for _, l := range job.LimitTable() {
		kind, byDefault, ceiling := "number", l.Number(&l.Standard), l.Number(&l.Ceiling)
		if l.Whole() {
			kind = "integer"
		}
		if l.Unlimited {
			byDefault = "no limit"
		}
		want := []string{kind, cmp.Or(l.Least(), "0"), byDefault, "KAA_" + l.Setting, cmp.Or(l.ZeroCeiling, ceiling), "KAA_MAX_" + l.Setting}
		if got := rows[l.Name]; !slices.Equal(got, want) {
			t.Errorf("docs/api/execute.md says of %s %q, want %q", l.Name, got, want)
		}
		delete(rows, l.Name)
	}
	if len(rows) > 0 {
		t.Errorf("docs/api/execute.md has limits that do not exist: %v", rows)
	}
}

// documentedSettings returns the defaults in the tables of docs/configuration.md. A blank line
// would end a table, so a row is one only if a table's begin or another row stands before it.
func documentedSettings(t *testing.T) map[string][]string {
	t.Helper()
	row := regexp.MustCompile("^\\| `(KAA_[A-Z_]+)` \\| ([^|]*) \\| .* \\|$")
	all := map[string][]string{}
	before := ""
	for line := range strings.SplitSeq(text(t, "docs/configuration.md"), "\n") {
		if m := row.FindStringSubmatch(line); m != nil {
			if !strings.HasPrefix(before, "|") {
				t.Errorf("docs/configuration.md: the row of %s is in no table", m[1])
			}
			all[m[1]] = append(all[m[1]], strings.Trim(strings.TrimSpace(m[2]), "`"))
		}
		before = line
	}
	return all
}

// passedByCompose returns the settings that docker-compose.yml gives a service.
func passedByCompose(t *testing.T) map[string]bool {
	t.Helper()
	passed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +(KAA_[A-Z_]+):`).FindAllStringSubmatch(text(t, "docker-compose.yml"), -1) {
		passed[m[1]] = true
	}
	return passed
}

// mentionedSettings returns the names of variables in what people read and what is deployed,
// and in the code, with a file of each.
func mentionedSettings(t *testing.T) map[string]string {
	t.Helper()
	// A name that goes on with something else, as in KAA_MAX_…, is no name.
	name := regexp.MustCompile(`\bKAA_[A-Z_]*[A-Z]\b`)
	all := map[string]string{}
	look := func(file string) {
		for _, found := range name.FindAllString(text(t, file), -1) {
			all[found] = file
		}
	}
	for _, file := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docker-compose.yml"} {
		look(file)
	}
	for _, dir := range []string{"docs", "deploy", "examples", ".github", "cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			path, err = filepath.Rel("../..", path)
			if strings.Contains(path, "_test.") || strings.Contains(path, "/tests/") || strings.HasSuffix(path, ".pyc") {
				return err
			}
			look(path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// text returns a file of the repository.
func text(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
