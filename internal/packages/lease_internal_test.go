package packages

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestHears: callers see the last whole line of an installer, without what they may not see, however the output comes.
func TestHears(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, output, want string
		piece              int
	}{
		{"by the byte", "Resolved 3 packages\nhttp://kaa:secret@index\n", "http://kaa:@index", 1},
		{"at once", "one\n two \n\n", "two", 1000},
		{"a line that is not whole", "one\ntwo", "one", 2},
		{"a lock file", "Resolved 1 package\na==1 \\\n    --hash=sha256:0\n", "Resolved 1 package", 1000},
		{"no text", "a\xffb\n", "a\uFFFDb", 1},
		{"a long line", strings.Repeat("x", 300) + "\n", strings.Repeat("x", mostLine) + "…", 7},
		{"a line without an end", "one\n" + strings.Repeat("x", 2*mostLog) + "secret", "one", 100},
		{"its rest", "one\n" + strings.Repeat("x", 2*mostLog) + "secret\n", "one", 100},
		{"what follows it", "one\n" + strings.Repeat("x", 2*mostLog) + "secret\ntwo\n", "two", 100},
	} {
		l := &lease{now: job.Installation{Step: job.InstallInstalls}}
		hears := l.hears(func(said string) string { return strings.ReplaceAll(said, "secret", "") })
		for rest := tt.output; rest != ""; rest = rest[min(tt.piece, len(rest)):] {
			hears([]byte(rest[:min(tt.piece, len(rest))]))
		}
		if l.now.Line != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, l.now.Line, tt.want)
		}
	}
	var none *lease
	none.step(job.InstallStores)
	none.has(1)
	none.leave()
	if none.hears(nil) != nil {
		t.Error("a lease that is another runner's hears something")
	}
}
