package sandboxport

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/access"
)

const aSession = "0198c2f0-6b7c-7def-8abc-0123456789ab"

// TestHosts: a pattern, the addresses that it makes, and which hosts are of it.
func TestHosts(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"*.ports.example.com":             "https://8000-" + aSession + ".ports.example.com/",
		"*.Ports.Example.com:8443":        "https://8000-" + aSession + ".ports.example.com:8443/",
		"http://*.ports.example.com:8080": "http://8000-" + aSession + ".ports.example.com:8080/",
		"*.localhost:8080":                "http://8000-" + aSession + ".localhost:8080/",
	} {
		h, err := ParseHosts(pattern)
		if err != nil || h.URL(aSession, 8000, "") != want {
			t.Errorf("%s: %s %v", pattern, h.URL(aSession, 8000, ""), err)
		}
	}
	for _, pattern := range []string{
		"ports.example.com", "*", "*.", "*.*.example.com", "*ports.example.com", "ftp://*.example.com", "*.example.com/x", "*.example.com?x", "u@*.example.com", "*.127.0.0.1", "*.a b", "*.a..b", "*.example.com.",
		"https://", "*.exämple.com", "*.example.com:0", "*.example.com:65536",
	} {
		if h, err := ParseHosts(pattern); err == nil {
			t.Errorf("%q: %+v", pattern, h)
		}
	}
	h, _ := ParseHosts("*.ports.example.com")
	for host, want := range map[string]string{
		"a.ports.example.com": "a", "A.PORTS.example.com:443": "a", "a.ports.example.com.": "a", "a.b.ports.example.com": "a.b", "ports.example.com": "", ".ports.example.com": "", "aports.example.com": "",
		"a.ports.example.com.evil.example": "", "evil.example:a.ports.example.com": "", "": "", "a.ports.example.org": "",
	} {
		if label, ok := h.Label(host); label != want && ok || ok != (want != "") {
			t.Errorf("%q: %q %t, want %q", host, label, ok, want)
		}
	}
	if _, ok := (Hosts{}).Label("a.b"); ok || (Hosts{}).Domain() != "" || h.Domain() != "ports.example.com" {
		t.Error("no host names have one, or the domain is wrong")
	}
}

// TestLabels: what an address is made of is read again, and only its own ticket passes its check.
func TestLabels(t *testing.T) {
	t.Parallel()
	h, _ := ParseHosts("*.ports.example.com")
	digest, other := access.Digest("one"), access.Digest("two")
	for _, port := range []int{1, 65535} {
		ticket := access.Ticket(digest, Thing(aSession, port))
		label, ok := h.Label(strings.TrimSuffix(strings.TrimPrefix(h.URL(aSession, port, ticket), "https://"), "/"))
		a, err := ReadLabel(label)
		if err != nil || !ok || len(label) > 63 || a.Session != aSession || a.Port != port {
			t.Fatalf("%s: %+v %v", label, a, err)
		}
		holder, check := a.Signature()
		if holder != access.Holder(digest) || !check(ticket) {
			t.Errorf("%s: its own ticket does not pass", label)
		}
		for name, wrong := range map[string]string{
			"of another key": access.Ticket(other, Thing(aSession, port)), "for another port": access.Ticket(digest, Thing(aSession, port+1)), "for another thing": access.Ticket(digest, "e2b:"+aSession), "none": "",
		} {
			if check(wrong) {
				t.Errorf("a ticket %s passes", name)
			}
		}
	}
	for _, label := range []string{"8000-" + aSession, "8000-" + strings.ReplaceAll(aSession, "-", "")} {
		a, err := ReadLabel(label)
		if _, check := a.Signature(); err != nil || a.Session != aSession || a.Port != 8000 || check != nil {
			t.Errorf("%s: %+v %v", label, a, err)
		}
	}
	for _, label := range []string{
		"", "8000", "8000-", "-" + aSession, "0-" + aSession, "3128-" + aSession, "08000-" + aSession, "8000-x" + aSession[1:], "8000-" + aSession[1:], "a.8000-" + aSession, "8000-0198c2f06b7c-7def8abc0123456789ab",
		"8000-" + strings.Repeat("a", 54), "8000-" + strings.Repeat("a", 56), "8000-" + strings.Repeat("1", 55),
	} {
		if a, err := ReadLabel(label); err == nil {
			t.Errorf("%q: %+v", label, a)
		}
	}
}
