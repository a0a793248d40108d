package config

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/sandboxport"
	"github.com/kaa-run/kaa/internal/telemetry"
)

// ShortestKey is how many characters a key should have: 16 of 64 kinds cannot be guessed.
const ShortestKey = 16

// trimmed returns the texts without spaces around them, and without empty ones.
func trimmed[T ~string](texts []T) (all []T) {
	for _, one := range texts {
		if one := strings.TrimSpace(string(one)); one != "" {
			all = append(all, T(one))
		}
	}
	return all
}

// ShortKeys counts the keys that can be guessed.
func (c *Config) ShortKeys() int {
	n := 0
	for _, keys := range [][]Secret{c.APIKeys, c.AdminKeys} {
		for _, k := range keys {
			if len(k) < ShortestKey {
				n++
			}
		}
	}
	return n
}

// checkHosts finds what is wrong with the patterns of hosts.
func (c *Config) checkHosts(bad func(format string, args ...any)) {
	if _, err := sandboxport.ParseHosts(c.PortsHost); err != nil {
		bad("KAA_PORTS_HOST: %w", err)
	}
	for name, patterns := range map[string][]string{"KAA_ALLOWED_ORIGINS": c.AllowedOrigins, "KAA_ALLOWED_HOSTS": c.AllowedHosts} {
		for _, p := range patterns {
			if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
				bad("%s: %q is not a host; write app.example.com or *.example.org, without https://", name, p)
				continue
			}
			if c.Keyless() && matchesAll(p) {
				bad("%s: %q is every host; without KAA_API_KEYS every page that a browser shows could then run code: name the hosts, or set keys", name, p)
			}
		}
	}
}

// PortHosts are the host names of ports of sessions. Load has checked their pattern.
func (c *Config) PortHosts() sandboxport.Hosts {
	hosts, _ := sandboxport.ParseHosts(c.PortsHost)
	return hosts
}

// matchesAll reports whether a pattern is of hosts that have nothing in common, but perhaps a port.
func matchesAll(pattern string) bool {
	pattern, _, _ = strings.Cut(pattern, ":")
	for _, host := range []string{"a.example", "192.0.2.1"} {
		if ok, err := path.Match(pattern, host); err != nil || !ok {
			return false
		}
	}
	return true
}

// ChecksHost says whether requests have to be addressed to hosts that are known: if the operator has
// named some, and where a page that a browser shows could else run code.
func (c *Config) ChecksHost() bool {
	return len(c.AllowedHosts) > 0 || c.Keyless() && !c.Open()
}

// longestBase is how many characters a base path may have: it is in each Location.
const longestBase = 256

// basePath is a path whose characters stand everywhere as they are: in addresses, HTML and headers.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// ownPaths are the first parts of the API's own paths. A base path that began with one would hide that part at the root.
func ownPaths() []string {
	return []string{"v1", "process", "console", "docs", "openapi.json", "openapi.yaml", "healthz", "readyz", "metrics", ".well-known"}
}

// checkBasePath finds what is wrong with the path below which the API is.
func (c *Config) checkBasePath(bad func(format string, args ...any)) {
	if c.BasePath == "" {
		return
	}
	if !basePath.MatchString(c.BasePath) || len(c.BasePath) > longestBase || path.Clean(c.BasePath) != c.BasePath {
		bad("KAA_BASE_PATH: %q is not a path; write /kaa or /tools/kaa, with letters, digits and ._~- between the slashes", c.BasePath)
		return
	}
	if first, _, _ := strings.Cut(c.BasePath[1:], "/"); slices.Contains(ownPaths(), first) {
		bad("KAA_BASE_PATH: /%s is a path of the API itself; choose another one, such as /kaa", first)
	}
}

// mostNamed is how many tenants may have metrics of their own: each is a series of every metric of tenants.
const mostNamed = 100

// checkTenants finds what is wrong with the tenants that have metrics of their own.
func (c *Config) checkTenants(bad func(format string, args ...any)) {
	if len(c.MetricsTenants) > mostNamed {
		bad("KAA_METRICS_TENANTS has %d tenants; name %d at most, the rest is one series", len(c.MetricsTenants), mostNamed)
	}
	for i, name := range c.MetricsTenants {
		switch err := access.CheckTenant(name); {
		case err != nil:
			bad("KAA_METRICS_TENANTS: %q is no tenant: %w", name, err)
		case name == telemetry.OtherTenants:
			bad("KAA_METRICS_TENANTS: %q is the label of all tenants that are not named; leave it out", name)
		case slices.Contains(c.MetricsTenants[:i], name):
			bad("KAA_METRICS_TENANTS names %q twice", name)
		}
	}
}
