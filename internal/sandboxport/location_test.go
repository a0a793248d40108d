package sandboxport

import "testing"

// TestLocation: clients take their key along when they are led to the same host. So a server below a path of Kaa's address leads to itself there,
// whatever it writes.
func TestLocation(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"/to":                                   "/below/to",
		"/to?a=b&c#d":                           "/below/to?a=b&c#d",
		"/a%2Fb?":                               "/below/a%2Fb?",
		"to":                                    "/below/dir/to",
		"?q":                                    "/below/dir/page?q",
		"../up":                                 "/below/up",
		"../../../../../v1/keys":                "/below/v1/keys",
		"/../../../v1/keys":                     "/below/v1/keys",
		"./../..":                               "/below/",
		"http://localhost:8000":                 "/below/",
		"http://localhost:8000/to":              "/below/to",
		"http://127.0.0.1:8000/../to":           "/below/to",
		"http://kaa.example/v1/keys":            "/below/v1/keys",
		"https://KAA.example.:8443/v1/keys":     "/below/v1/keys",
		"HTTPS://user:x@kaa.example/v1/keys":    "/below/v1/keys",
		"//kaa.example:80/v1/keys":              "/below/v1/keys",
		"http://kaa.example//evil.example/":     "/below/evil.example/",
		"//evil.example/v1/keys":                "//evil.example/v1/keys",
		"https://evil.example/?to=/v1/keys":     "https://evil.example/?to=/v1/keys",
		"http://kaa.example.evil.example/":      "http://kaa.example.evil.example/",
		"mailto:a@example.com":                  "mailto:a@example.com",
		"%2e%2e/%2e%2e/%2e%2e/v1/keys":          "",
		"/x/%2E./.%2e/v1/keys":                  "",
		"/%2e%2e":                               "",
		`\..\..\v1\keys`:                        "",
		`/x\..\..\..\v1\keys`:                   "",
		"/a b":                                  "/below/a%20b",
		"\t/v1/keys":                            "",
		"/.\t./v1/keys":                         "",
		"http:/v1/keys":                         "",
		"http:///v1/keys":                       "",
		"https:v1/keys":                         "",
		"http://kaa.ex%61mple/v1/keys":          "",
		"http://[kaa.example/v1/keys":           "",
		"/%zz":                                  "",
		"http://kaa.example:8000:80/v1/keys":    "",
		"http://localhost:8001/another":         "http://localhost:8001/another",
		"http://127.0.0.2/":                     "http://127.0.0.2/",
		"//0x.example/":                         "//0x.example/",
		"//127.1/v1/keys":                       "",
		"//127.0.0.01/v1/keys":                  "",
		"//0X7F000001./v1/keys":                 "",
		"//2130706433:80/v1/keys":               "",
		"//0x/v1/keys":                          "",
		"//\u212aaa.example/v1/keys":            "",
		"//%E2%84%AAaa.example/v1/keys":         "",
		"//ka\u00ada.example/v1/keys":           "",
		"http://localhost:8000@evil.example/to": "http://localhost:8000@evil.example/to",
	} {
		p := &Request{Port: Port{Number: 8000}, Path: "/dir/page", Below: "/below"}
		if got := p.outside(to, "kaa.example:8080"); got != want {
			t.Errorf("%q: %q, want %q", to, got, want)
		}
	}
	for at, to := range map[string]string{"127.0.0.1:8080": "http://127.0.0.1/v1", "[::1]:8080": "http://[0:0::0:1]:80/v1", "[fe80::1]": "http://[FE80::1%25eth0]/v1"} {
		p := &Request{Port: Port{Number: 8000}, Path: "/", Below: "/below"}
		if got := p.outside(to, at); got != "/below/v1" {
			t.Errorf("%s at %s: %q", to, at, got)
		}
	}
	// A server that knows the path below which it is seen.
	for to, want := range map[string]string{"/below/to": "/below/to", "/below": "/below", "/below/../to": "/below/to", "/belowto": "/below/belowto", "http://localhost:8000/below/to": "/below/to", "/to": "/below/to"} {
		p := &Request{Port: Port{Number: 8000}, Path: "/dir/page", Below: "/below", Prefix: "/below"}
		if got := p.outside(to, "kaa.example:8080"); got != want {
			t.Errorf("%q of a server with a prefix: %q, want %q", to, got, want)
		}
	}
	own := &Request{Port: Port{Number: 8000}, Path: "/dir/page", Host: "8000-x.ports.example.com"}
	for to, want := range map[string]string{
		"/to": "/to", "../to": "../to", "http://8000-x.ports.example.com/to": "/to", "http://localhost:8000": "/", "https://kaa.example/v1/keys": "https://kaa.example/v1/keys",
	} {
		if got := own.outside(to, "8000-x.ports.example.com"); got != want {
			t.Errorf("at a host name of its own, %q: %q, want %q", to, got, want)
		}
	}
}
