package sandboxport

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// outside is an address to which the server leads, as its clients outside know it; empty if it leads nowhere. at is the host that they have asked.
func (p *Request) outside(to, at string) string {
	if p.Below == "" {
		return p.onHost(to)
	}
	return p.below(to, at)
}

// onHost is outside for a server with a host name of its own.
func (p *Request) onHost(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.User != nil || !slices.Contains(p.ours(), u.Host) {
		return to
	}
	u.Scheme, u.Host = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

// ours are the names of the server that it may use for itself.
func (p *Request) ours() []string {
	return []string{p.host(), p.local(), "127.0.0.1:" + strconv.Itoa(p.Number)}
}

// below is outside for a server that is seen below a path of Kaa's address. Clients follow redirects with the key and the method of their request as
// long as the host is the same. So at this host the server leads to itself only: its address is resolved here, and what clients read in different
// ways is left out.
func (p *Request) below(to, at string) string {
	u, err := url.Parse(to)
	if err != nil || strings.Contains(to, `\`) {
		return ""
	}
	isHTTP := u.Scheme == "http" || u.Scheme == "https" // in lower case, by url.Parse
	if isHTTP && u.Host == "" || isOddHost(u.Hostname()) {
		return ""
	}
	if u.Scheme != "" && !isHTTP || u.Host != "" && !slices.Contains(p.ours(), u.Host) && !sameName(u.Host, at) {
		return to
	}
	if u.Host != "" && u.Path == "" {
		u.Path = "/"
	}
	base, err := url.Parse("http://" + p.local() + p.Path)
	if err != nil {
		base = &url.URL{Path: "/"}
	}
	v := base.ResolveReference(&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery, Fragment: u.Fragment, RawFragment: u.RawFragment})
	path := "/" + strings.TrimLeft(v.EscapedPath(), "/")
	for part := range strings.SplitSeq(path, "/") {
		if plain, err := url.PathUnescape(part); err != nil || plain == "." || plain == ".." {
			return ""
		}
	}
	if p.Prefix != "" { // servers that know the path below which they are seen write it themselves
		if own, ok := strings.CutPrefix(path, p.Prefix); ok && (own == "" || own[0] == '/') {
			path = own
		}
	}
	rest := &url.URL{RawQuery: v.RawQuery, ForceQuery: v.ForceQuery, Fragment: v.Fragment, RawFragment: v.RawFragment}
	return p.Below + path + rest.String()
}

// sameName reports whether two hosts have one name, whatever their ports are: some clients send a key to other ports, too.
func sameName(a, b string) bool {
	name := func(host string) string {
		name := strings.TrimSuffix((&url.URL{Host: host}).Hostname(), ".")
		if address, err := netip.ParseAddr(name); err == nil { // those of IPv6 have several notations
			return address.WithZone("").String()
		}
		return name
	}
	return strings.EqualFold(name(a), name(b))
}

// isOddHost reports whether some clients take a host for another one: characters beyond ASCII for similar ones in it, and numbers for an address (127.1,
// 0x7f000001).
func isOddHost(name string) bool {
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return true
	}
	name = strings.TrimSuffix(name, ".")
	last := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	if last == "" || strings.Trim(last, "0123456789") != "" && (!strings.HasPrefix(last, "0x") || strings.Trim(last[2:], "0123456789abcdef") != "") {
		return false
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}
