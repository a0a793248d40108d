package job_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestNetworkRules: which destinations a rule has, and that it is written as it is read.
func TestNetworkRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rule, has, lacks string }{
		{"api.github.com:443", "api.github.com:443 API.GitHub.com.:443", "api.github.com:80 github.com:443 x.api.github.com:443 api.github.com.evil.example:443 evilapi.github.com:443"},
		{"api.github.com", "api.github.com:443 api.github.com:80", "api.github.com:8080 api.github.com:22"},
		{"Example.COM.:*", "example.com:1 example.com:65535", "www.example.com:443"},
		{"*.example.com:443", "a.example.com:443 a.b.example.com:443", "example.com:443 aexample.com:443 example.com.a:443 a.example.com:444"},
		{"*:443", "a.example:443 8.8.8.8:443 [2001:4860::8888]:443", "a.example:80"},
		{"*", "a.example:80", "a.example:22"},
		{"*:*", "a.example:22", ""},
		{"8.8.8.8:53", "8.8.8.8:53 [::ffff:8.8.8.8]:53", "8.8.8.80:53 8.8.4.4:53"},
		{"[2001:4860:0::8888]:443", "[2001:4860::8888]:443", "[2001:4860::8889]:443"},
		{"2001:4860::8888", "[2001:4860::8888]:443 [2001:4860::8888]:80", "[2001:4860::8888]:53"},
		{"my_host", "my_host:443", "host:443"},
	} {
		rule, err := job.ParseNetworkRule(test.rule)
		if err != nil {
			t.Errorf("%s: %v", test.rule, err)
			continue
		}
		if again, err := job.ParseNetworkRule(rule.String()); err != nil || again != rule {
			t.Errorf("%s is written as %s, which is %v, %v", test.rule, rule, again, err)
		}
		for want, all := range map[bool]string{true: test.has, false: test.lacks} {
			for text := range strings.FieldsSeq(all) {
				host, port, err := job.ParseDestination(text)
				if err != nil || rule.Matches(host, port) != want {
					t.Errorf("%s has %s: %v, want %v (%v)", test.rule, text, !want, want, err)
				}
			}
		}
	}
}

// TestNetworkRulesRefused: what is no rule and no destination, with other notations of addresses than the usual ones.
func TestNetworkRulesRefused(t *testing.T) {
	t.Parallel()
	both := []string{
		"", ":443", "a:", "a:0", "a:65536", "a:+1", "a:01", "a: 443", "a:b", "a b:443", "a\r\nb:443", "a\x00:443", "ä.example:443", "a..b:443", ".a:443", "-a:443", "a-:443",
		"127.1:443", "2130706433:443", "0x7f000001:443", "0x7f.0.0.1:443", "0177.0.0.1:443", "127.0.0.1.:443", "1.2.3.4.5:443", "a.0x7f:443", "256.1.1.1:443",
		"[fe80::1%eth0]:443", "fe80::1%eth0", "[127.0.0.1]:443", "[::1", "[::1]443", "[::1]:", "[a.example]:443", "http://a.example", "https://a.example:443", "a.example/x:443", "10.0.0.0/8",
		"user@a.example:443", "a.example:443:443x", strings.Repeat("a", 64) + ":443", strings.Repeat("a.", 127) + "aa:443",
	}
	for _, text := range both {
		if r, err := job.ParseNetworkRule(text); err == nil {
			t.Errorf("%q is a rule: %s", text, r)
		}
		if host, port, err := job.ParseDestination(text); err == nil {
			t.Errorf("%q is a destination: %s %d", text, host, port)
		}
	}
	for _, text := range []string{"a.*.example:443", "*a.example:443", "*.*:443", "**:443", "*.8.8.8.8:443", "*.", "*.:443"} {
		if r, err := job.ParseNetworkRule(text); err == nil {
			t.Errorf("%q is a rule: %s", text, r)
		}
	}
	for _, text := range []string{"a.example", "a.example:*", "*:443", "*.example.com:443"} {
		if host, port, err := job.ParseDestination(text); err == nil {
			t.Errorf("%q is a destination: %s %d", text, host, port)
		}
	}
}

// TestNetworkRulesCover: which rules are within others.
func TestNetworkRulesCover(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rule, covers, not string }{
		{"*:*", "* *:443 a.example *.example.com:* 8.8.8.8:53", ""},
		{"*", "* *:443 *:80 a.example a.example:443 *.example.com", "a.example:22 *:* a.example:*"},
		{"*.example.com", "*.example.com *.a.example.com a.example.com a.example.com:443", "example.com *.com * *.example.com:22 *.aexample.com aexample.com"},
		{"example.com", "example.com example.com:443", "*.example.com example.com:* a.example.com"},
		{"example.com:443", "example.com:443", "example.com example.com:80"},
		{"8.8.8.8:*", "8.8.8.8 8.8.8.8:53", "8.8.4.4:53"},
	} {
		rule, err := job.ParseNetworkRule(test.rule)
		if err != nil {
			t.Fatal(err)
		}
		for want, all := range map[bool]string{true: test.covers, false: test.not} {
			for text := range strings.FieldsSeq(all) {
				other, err := job.ParseNetworkRule(text)
				if err != nil || rule.Covers(other) != want {
					t.Errorf("%s covers %s: %v, want %v (%v)", test.rule, text, !want, want, err)
				}
			}
		}
	}
}

// FuzzNetworkRule: a rule is written as it is read, and a destination that a rule has is a name or an address in one notation.
func FuzzNetworkRule(f *testing.F) {
	for _, seed := range []string{"api.github.com:443", "*.example.com", "*:*", "[2001:db8::1]:443", "127.1:80", "0x7f.1", "A.B.:1", "a\r\n:1"} {
		f.Add(seed)
	}
	any443, _ := job.ParseNetworkRule("*:*")
	f.Fuzz(func(t *testing.T, text string) {
		if rule, err := job.ParseNetworkRule(text); err == nil {
			if again, err := job.ParseNetworkRule(rule.String()); err != nil || again != rule || !rule.Covers(rule) || !any443.Covers(rule) {
				t.Errorf("%q is %s, which is %s, %v", text, rule, again, err)
			}
		}
		host, port, err := job.ParseDestination(text)
		if err != nil {
			return
		}
		if clean, err := job.CleanHost(host); err != nil || clean != host || port == 0 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/@%?#[]\\", r) }) {
			t.Errorf("%q has the host %q, which is %q, %v", text, host, clean, err)
		}
		if a, err := netip.ParseAddr(host); err == nil && a.String() != host {
			t.Errorf("%q has the address %s, which is written %s", text, host, a)
		}
	})
}

// TestAcceptNetwork: what a request may allow, by the operator and by the key.
func TestAcceptNetwork(t *testing.T) {
	t.Parallel()
	rules := func(texts ...string) []job.NetworkRule {
		all, err := job.ParseNetworkRules(texts)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	key := &job.KeyLimits{Egress: []string{"*.example.com:443", "pypi.org:443"}}
	if wrong := key.Check(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for _, test := range []struct {
		name     string
		operator []job.NetworkRule
		key      *job.KeyLimits
		allow    []string
		want     []string
		field    string
		message  string
	}{
		{"off", nil, nil, []string{"a.example"}, nil, "network.allow[0]", "KAA_EGRESS"},
		{"off, and nothing asked for", nil, nil, []string{}, []string{}, "", ""},
		{"all", rules("*"), nil, []string{"A.example.", "b.example:443", "a.example"}, []string{"a.example", "b.example:443"}, "", ""},
		{"another port", rules("*"), nil, []string{"a.example:22"}, nil, "network.allow[0]", "the operator allows *"},
		{"not the operator's", rules("a.example:443"), nil, []string{"a.example:443", "b.example:443"}, nil, "network.allow[1]", "the operator allows a.example:443"},
		{"not the key's", rules("*"), key, []string{"a.example:443"}, nil, "network.allow[0]", "this API key allows *.example.com:443, pypi.org:443"},
		{"the key's", rules("*"), key, []string{"a.example.com:443"}, []string{"a.example.com:443"}, "", ""},
		{"the key's, but not the operator's", rules("pypi.org"), key, []string{"a.example.com:443"}, nil, "network.allow[0]", "the operator allows pypi.org"},
		{"no rule", rules("*"), nil, []string{"127.1:443"}, nil, "network.allow[0]", "unusual notation"},
		{"too many", rules("*"), nil, make([]string, 65), nil, "network.allow", "the limit is 64"},
	} {
		l := limits().For(nil)
		l.Egress = test.operator
		l = l.For(test.key)
		n, err := l.Accept(job.Request{Code: "1", Network: &job.Network{Allow: test.allow}}, now)
		se, sessionErr := l.AcceptSession(job.SessionRequest{Network: &job.Network{Allow: test.allow}})
		if test.field == "" {
			if err != nil || sessionErr != nil || !slices.Equal(n.Spec.Network.Allow, test.want) || !slices.Equal(se.Spec.Network.Allow, test.want) {
				t.Errorf("%s: %v %v, %v %v", test.name, n.Spec.Network, se.Spec.Network, err, sessionErr)
			}
			continue
		}
		for _, err := range []error{err, sessionErr} {
			var invalid *job.ValidationError
			if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != test.field || !strings.Contains(invalid.Fields[0].Message, test.message) {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
	l := limits()
	l.Egress = rules("*")
	for name, r := range map[string]job.Request{
		"network": {Code: "1", Network: &job.Network{}, SessionID: "s"},
	} {
		var invalid *job.ValidationError
		if _, err := l.Accept(r, now); !errors.As(err, &invalid) || invalid.Fields[0].Field != name {
			t.Errorf("in a session: %v", err)
		}
	}
	for _, wrong := range [][]string{{}, {"127.1"}, make([]string, 65)} {
		if fields := (&job.KeyLimits{Egress: wrong}).Check(); len(fields) != 1 || fields[0].Field != "limits.egress" {
			t.Errorf("a key with %v: %v", wrong, fields)
		}
	}
}

// TestUsageSince: what an execution of a session did is the difference, destination by destination.
func TestUsageSince(t *testing.T) {
	t.Parallel()
	a := job.NetworkDestination{Host: "a", Port: 1, Outcome: job.NetworkConnected, Count: 2, BytesSent: 5}
	before := job.NetworkUsage{Connections: 2, BytesSent: 5, Destinations: []job.NetworkDestination{a, {Host: "b", Outcome: job.NetworkNotAllowed, Count: 1}}, Refused: 1}
	after := before
	a.BytesSent = 9
	after.BytesSent, after.Connections = 9, 3
	after.Destinations = []job.NetworkDestination{a, before.Destinations[1], {Host: "c", Outcome: job.NetworkConnected, Count: 1}}
	got := after.Since(before)
	if got.Connections != 1 || got.BytesSent != 4 || got.Refused != 0 || len(got.Destinations) != 2 || got.Destinations[0].BytesSent != 4 || got.Destinations[0].Count != 0 || got.Destinations[1].Host != "c" {
		t.Errorf("%+v", got)
	}
}
