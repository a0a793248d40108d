package testenv

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// KeyKinds are the kinds of keys in Redis that docs/architecture/bounds.md lists, by their names there.
type KeyKinds map[string]KeyKind

// KeyKind is a row of the page.
type KeyKind struct {
	Counts  bool // among the bytes of a caller
	Brief   bool // each key is gone within a minute
	pattern *regexp.Regexp
}

var keyRow = regexp.MustCompile("(?m)^\\| `(\\{kaa\\}:[^`]+)` \\| (counts|no|brief) \\|")

// ReadKeyKinds reads the page.
func ReadKeyKinds(t *testing.T) KeyKinds {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(checkout(t), "docs/architecture/bounds.md"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := KeyKinds{}
	for _, row := range keyRow.FindAllStringSubmatch(string(page), -1) {
		name := row[1]
		pattern := regexp.MustCompile(`<\w+>`).ReplaceAllString(regexp.QuoteMeta(name), "[^:]+")
		kinds[name] = KeyKind{Counts: row[2] == "counts", Brief: row[2] == "brief", pattern: regexp.MustCompile("^" + pattern + "$")}
	}
	if len(kinds) < 20 {
		t.Fatalf("the page lists %d kinds of keys only", len(kinds))
	}
	return kinds
}

// Of returns the kind of a key; empty if the page does not list it. A name without places is more exact than one with some.
func (k KeyKinds) Of(key string) string {
	best := ""
	for name, kind := range k {
		if kind.pattern.MatchString(key) && (best == "" || strings.Count(name, "<") < strings.Count(best, "<")) {
			best = name
		}
	}
	return best
}
