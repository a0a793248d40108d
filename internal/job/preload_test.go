package job_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestPreload: modules to import ahead are part of the name of the runtime, another one for each list and each tenant.
func TestPreload(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 101)
	many := slices.Repeat([]string{"a"}, 11)
	for _, tt := range []struct {
		name, wrong    string
		preload        []string
		want, packages []string
	}{
		{name: "none", packages: []string{"a"}},
		{name: "some", preload: []string{"b.c", "_a1", "b.c"}, packages: []string{"a"}, want: []string{"b.c", "_a1"}},
		{name: "without packages", preload: []string{"a"}, wrong: "preload"},
		{name: "many", preload: many, packages: []string{"a"}, wrong: "preload"},
		{name: "long", preload: []string{"a", long}, packages: []string{"a"}, wrong: "preload[1]"},
		{name: "empty", preload: []string{""}, packages: []string{"a"}, wrong: "preload[0]"},
		{name: "relative", preload: []string{".a"}, packages: []string{"a"}, wrong: "preload[0]"},
		{name: "code", preload: []string{"a; import os"}, packages: []string{"a"}, wrong: "preload[0]"},
		{name: "line", preload: []string{"a\n"}, packages: []string{"a"}, wrong: "preload[0]"},
		{name: "path", preload: []string{"../a"}, packages: []string{"a"}, wrong: "preload[0]"},
		{name: "not ASCII", preload: []string{"é"}, packages: []string{"a"}, wrong: "preload[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := limits()
			l.Packages = job.PackageLimits{Allowed: true}
			n, err := l.Accept(job.Request{Code: "1", Packages: tt.packages, Preload: tt.preload}, time.Now())
			s, sessionErr := l.AcceptSession(job.SessionRequest{Packages: tt.packages, Preload: tt.preload})
			if tt.wrong != "" {
				for _, err := range []error{err, sessionErr} {
					var invalid *job.ValidationError
					if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != tt.wrong {
						t.Errorf("err = %v, want one about %s", err, tt.wrong)
					}
				}
				return
			}
			if err = errors.Join(err, sessionErr); err != nil || !slices.Equal(n.Spec.Preload, tt.want) || !slices.Equal(s.Spec.Preload, tt.want) {
				t.Errorf("%q and %q, %v; want %q", n.Spec.Preload, s.Spec.Preload, err, tt.want)
			}
			plain := job.WithPackages("", tt.packages)
			if n.Job.Runtime != n.Spec.Runtime || n.Job.Runtime != s.Spec.Runtime || job.WithoutPreload(n.Job.Runtime) != plain || (n.Job.Runtime == plain) != (tt.want == nil) {
				t.Errorf("runtimes %q, %q and %q of %q", n.Job.Runtime, n.Spec.Runtime, s.Spec.Runtime, plain)
			}
			if got := n.Job.PackageSet(); plain != "@"+got {
				t.Errorf("set %q, want that of %q", got, plain)
			}
			again, err := l.AcceptAgain(n, time.Now())
			if err != nil || again.Job.Runtime != n.Job.Runtime {
				t.Errorf("again: %q, %v", again.Job.Runtime, err)
			}
		})
	}
	names := map[string]bool{}
	for _, tenant := range []string{"", "a", "b"} {
		for _, modules := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "a"}, {"a.b"}} {
			names[job.WithPreload("python@0", modules, tenant)] = true
		}
	}
	if len(names) != 15 {
		t.Errorf("%d names of 15 lists and tenants", len(names))
	}
	l := limits()
	l.Packages.Allowed = true
	_, err := l.Accept(job.Request{Code: "1", SessionID: "s", Preload: []string{"a"}}, time.Now())
	var invalid *job.ValidationError
	if !errors.As(err, &invalid) || invalid.Fields[0].Field != "preload" {
		t.Errorf("for an execution of a session: %v", err)
	}
	l.Packages.Allowed = false
	if _, err := l.Accept(job.Request{Code: "1", Preload: []string{"a"}}, time.Now()); !errors.As(err, &invalid) {
		t.Errorf("where there are no packages: %v", err)
	}
}
