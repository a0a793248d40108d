package job_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestHTTPRules: what rules for requests may say, within what the operator allows and the caller's secrets.
func TestHTTPRules(t *testing.T) {
	t.Parallel()
	rules := func(texts ...string) []job.NetworkRule {
		all, err := job.ParseNetworkRules(texts)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	header := func(name, secret string) map[string]job.HeaderValue {
		return map[string]job.HeaderValue{name: {Secret: secret}}
	}
	l := limits()
	l.Egress, l.Intercept, l.Tenant = rules("*.example:*"), true, "acme"
	l.Secrets = job.NewNetworkSecrets(
		job.NetworkSecret{Name: "acme", To: rules("a.example:443", "*.sub.example"), Tenants: []string{"other", "acme"}},
		job.NetworkSecret{Name: "other", To: rules("a.example"), Tenants: []string{"other"}},
		job.NetworkSecret{Name: "all", To: rules("a.example"), Tenants: []string{"*"}},
	)
	const at = "network.http[0]"
	for name, test := range map[string]struct {
		rule           job.HTTPRule
		field, message string
	}{
		"all":                    {job.HTTPRule{To: "a.example"}, "", ""},
		"methods and paths":      {job.HTTPRule{To: "a.example", Methods: []string{"get", "GET", "PROPFIND"}, Paths: []string{"/", "/a/*/b", "/*", "/é"}}, "", ""},
		"a secret":               {job.HTTPRule{To: "a.example:443", Headers: header("authorization", "acme")}, "", ""},
		"a secret of all":        {job.HTTPRule{To: "a.example:80", Headers: header("X-Key", "all")}, "", ""},
		"a secret below":         {job.HTTPRule{To: "*.x.sub.example", Headers: header("X-Key", "acme")}, "", ""},
		"another destination":    {job.HTTPRule{To: "a.test"}, at + ".to", "the operator allows *.example:*"},
		"no destination":         {job.HTTPRule{}, at + ".to", "is empty"},
		"a URL":                  {job.HTTPRule{To: "https://a.example"}, at + ".to", "write host:port"},
		"a secret elsewhere":     {job.HTTPRule{To: "b.example:443", Headers: header("X-Key", "acme")}, at + ".headers.X-Key.secret", `"acme" may not go to b.example:443; it may go to a.example:443, *.sub.example`},
		"a secret at more ports": {job.HTTPRule{To: "a.example", Headers: header("X-Key", "acme")}, at + ".headers.X-Key.secret", "may not go to a.example;"},
		"a secret at more names": {job.HTTPRule{To: "*.example", Headers: header("X-Key", "all")}, at + ".headers.X-Key.secret", "may not go to"},
		"another's secret":       {job.HTTPRule{To: "a.example", Headers: header("X-Key", "other")}, at + ".headers.X-Key.secret", `"other" is no secret that this API key may use`},
		"no such secret":         {job.HTTPRule{To: "a.example", Headers: header("X-Key", "gone")}, at + ".headers.X-Key.secret", `"gone" is no secret that this API key may use`},
		"no secret":              {job.HTTPRule{To: "a.example", Headers: header("X-Key", "")}, at + ".headers.X-Key.secret", "is no secret"},
		"the host":               {job.HTTPRule{To: "a.example", Headers: header("host", "all")}, at + ".headers", "Host cannot be set"},
		"the length":             {job.HTTPRule{To: "a.example", Headers: header("content-length", "all")}, at + ".headers", "cannot be set"},
		"no header":              {job.HTTPRule{To: "a.example", Headers: header("", "all")}, at + ".headers", "is no name of a header"},
		"a header with lines":    {job.HTTPRule{To: "a.example", Headers: header("a\r\nb", "all")}, at + ".headers", "is no name of a header"},
		"a header twice":         {job.HTTPRule{To: "a.example", Headers: map[string]job.HeaderValue{"X-Key": {Secret: "all"}, "x-key": {Secret: "all"}}}, at + ".headers", "X-Key occurs twice"},
		"no method":              {job.HTTPRule{To: "a.example", Methods: []string{"GET", ""}}, at + ".methods[1]", "is no method"},
		"a method with a space":  {job.HTTPRule{To: "a.example", Methods: []string{"GET /"}}, at + ".methods[0]", "is no method"},
		"CONNECT":                {job.HTTPRule{To: "a.example", Methods: []string{"connect"}}, at + ".methods[0]", "CONNECT cannot be allowed"},
		"TRACE":                  {job.HTTPRule{To: "a.example", Methods: []string{"TRACE"}}, at + ".methods[0]", "TRACE cannot be allowed"},
		"many methods":           {job.HTTPRule{To: "a.example", Methods: make([]string, 17)}, at + ".methods", "the limit is 16"},
		"no path":                {job.HTTPRule{To: "a.example", Paths: []string{""}}, at + ".paths[0]", "write it from its slash"},
		"a path without a slash": {job.HTTPRule{To: "a.example", Paths: []string{"/", "a"}}, at + ".paths[1]", "write it from its slash"},
		"dots":                   {job.HTTPRule{To: "a.example", Paths: []string{"/a/../b"}}, at + ".paths[0]", "without . and .."},
		"a query":                {job.HTTPRule{To: "a.example", Paths: []string{"/a?b"}}, at + ".paths[0]", "write the path alone"},
		"an escape":              {job.HTTPRule{To: "a.example", Paths: []string{"/%61"}}, at + ".paths[0]", "write the path alone"},
		"a piece of a part":      {job.HTTPRule{To: "a.example", Paths: []string{"/a*"}}, at + ".paths[0]", "only a piece of a part"},
		"a long path":            {job.HTTPRule{To: "a.example", Paths: []string{"/" + strings.Repeat("a", 512)}}, at + ".paths[0]", "the limit is 512"},
		"many paths":             {job.HTTPRule{To: "a.example", Paths: make([]string, 33)}, at + ".paths", "the limit is 32"},
	} {
		network := &job.Network{HTTP: []job.HTTPRule{test.rule}}
		n, err := l.Accept(job.Request{Code: "1", Network: network}, now)
		_, sessionErr := l.AcceptSession(job.SessionRequest{Network: network})
		if test.field == "" {
			if err != nil || sessionErr != nil || len(n.Spec.Network.HTTP) != 1 {
				t.Errorf("%s: %v, %v", name, err, sessionErr)
			}
			continue
		}
		for _, err := range []error{err, sessionErr} {
			var invalid *job.ValidationError
			if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != test.field || !strings.Contains(invalid.Fields[0].Message, test.message) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	n, err := l.Accept(job.Request{Code: "1", Network: &job.Network{HTTP: []job.HTTPRule{{To: "A.example.", Methods: []string{"get", "Get", "POST"}, Headers: header("x-key", "all")}}}}, now)
	want := []job.HTTPRule{{To: "a.example", Methods: []string{"GET", "POST"}, Headers: header("X-Key", "all")}}
	if err != nil || !reflect.DeepEqual(n.Spec.Network.HTTP, want) {
		t.Errorf("its usual form: %+v, %v", n.Spec.Network, err)
	}
	again := func(l job.Limits) string {
		_, err := l.AcceptAgain(n, now)
		return fmt.Sprint(err)
	}
	if got := again(l); got != "<nil>" {
		t.Errorf("again: %s", got)
	}
	l.Secrets = nil
	if got := again(l); !strings.Contains(got, "is no secret") {
		t.Errorf("again, when its secret is gone: %s", got)
	}
	l.Intercept = false
	if got := again(l); !strings.Contains(got, "KAA_EGRESS_INTERCEPT") {
		t.Errorf("again, when it is off: %s", got)
	}
	l.Egress = nil
	n.Spec.Network = &job.Network{Allow: []string{"a.example"}}
	if got := again(l); !strings.Contains(got, "KAA_EGRESS") {
		t.Errorf("again, when no network is allowed: %s", got)
	}
	if _, err := l.Accept(job.Request{Code: "1", Network: &job.Network{}}, now); err == nil || !strings.Contains(err.Error(), "names no destination") {
		t.Errorf("an empty one: %v", err)
	}
}

// TestPaths: which paths a pattern has, and which of them servers could read in another way.
func TestPaths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern string
		has     []string
		not     []string
	}{
		{"/", []string{"/"}, []string{"/a"}},
		{"/a", []string{"/a"}, []string{"/", "/a/", "/a/b", "/ab", "/A"}},
		{"/*", []string{"/", "/a", "/a/b/"}, nil},
		{"/a/*", []string{"/a/", "/a/b", "/a/b/c"}, []string{"/a", "/ab", "/b/a/"}},
		{"/a/*/c", []string{"/a/b/c", "/a/*/c"}, []string{"/a//c", "/a/b/b/c", "/a/b/c/", "/a/c"}},
		{"/*/*/c", []string{"/a/b/c"}, []string{"/a/c", "/a/b/d"}},
	} {
		for want, paths := range map[bool][]string{true: test.has, false: test.not} {
			for _, path := range paths {
				if job.MatchPath(test.pattern, path) != want {
					t.Errorf("%s and %s: want %v", test.pattern, path, want)
				}
			}
		}
	}
	for path, clean := range map[string]bool{
		"/": true, "/a/b": true, "/a/": true, "/a..b/...": true, "/é ~!$&'()*+,;=:@": true, "": false, "a": false, "*": false, "//a": false, "/a//": false, "/.": false, "/a/..": false,
		"/..;x/a": false, "/.;": false, "/a\\b": false, "/a\x00": false, "/a\nb": false, "/\x7f": false,
	} {
		if _, ok := job.CleanPath(path, path); ok != clean {
			t.Errorf("%q: clean is %v", path, ok)
		}
	}
	for _, raw := range []string{"/a%2fb", "/a%2Fb", "/a%5Cb", "/a%252e"} {
		if _, ok := job.CleanPath("/ab", raw); ok {
			t.Errorf("%s is clean", raw)
		}
	}
}
