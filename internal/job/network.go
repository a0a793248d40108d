package job

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Network says which destinations code may reach. Without one it reaches none.
type Network struct {
	Allow []string   `json:"allow"` // rules: see ParseNetworkRule
	HTTP  []HTTPRule `json:"http,omitempty"`
	// Owner is the caller whose code it is for; empty if the caller had no key. The store sets it, and a runner divides its connections by it.
	Owner string `json:"owner,omitempty"`
}

// OwnedBy returns the network as that of a caller; nil for none.
func (n *Network) OwnedBy(caller string) *Network {
	if n == nil {
		return nil
	}
	owned := *n
	owned.Owner = caller
	return &owned
}

const (
	maxNetworkRules = 64
	maxHostName     = 253
	maxHostLabel    = 63
)

// NetworkRule is a set of destinations: of hosts and of ports.
type NetworkRule struct {
	host string // a name, an address, "*." and a domain, or "*"
	port string // a number, "*", or empty for those of the web
}

// String writes the rule as ParseNetworkRule reads it.
func (r NetworkRule) String() string {
	host := r.host
	if strings.Contains(host, ":") && r.port != "" {
		host = "[" + host + "]"
	}
	if r.port != "" {
		host += ":" + r.port
	}
	return host
}

// ParseNetworkRule reads a rule. The error says what is wrong with it.
func ParseNetworkRule(text string) (NetworkRule, error) {
	host, port, err := cutPort(text)
	if err != nil {
		return NetworkRule{}, err
	}
	if port != "" && port != "*" {
		n, err := parsePort(port)
		if err != nil {
			return NetworkRule{}, err
		}
		port = strconv.Itoa(int(n))
	}
	if host == "*" {
		return NetworkRule{host, port}, nil
	}
	domain, below := strings.CutPrefix(host, "*.")
	if domain, err = CleanHost(domain); err != nil {
		return NetworkRule{}, err
	}
	if below {
		if _, err := netip.ParseAddr(domain); err == nil {
			return NetworkRule{}, errors.New("has *. before an address; write the address alone")
		}
		domain = "*." + domain
	}
	return NetworkRule{domain, port}, nil
}

// cutPort divides host:port, host, [address]:port, [address] and address.
func cutPort(text string) (host, port string, err error) {
	switch {
	case text == "":
		return "", "", errors.New("is empty; write host:port")
	case strings.Contains(text, "://") || strings.Contains(text, "/"):
		return "", "", errors.New("is a URL or a range; write host:port, as api.github.com:443")
	case strings.HasPrefix(text, "["):
		inside, rest, ok := strings.Cut(text[1:], "]")
		port, given := strings.CutPrefix(rest, ":")
		if !ok || !strings.Contains(inside, ":") || !given && rest != "" || given && port == "" {
			return "", "", errors.New("is no address with a port; write [2001:db8::1]:443")
		}
		return inside, port, nil
	case strings.Count(text, ":") > 1:
		return text, "", nil
	}
	host, port, given := strings.Cut(text, ":")
	if given && port == "" {
		return "", "", errors.New("has no port after the colon; write host:port")
	}
	return host, port, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16) // takes no sign
	if err != nil || text[0] == '0' {
		return 0, errors.New("has a port that is not one; use a number from 1 to 65535, or *")
	}
	return uint16(n), nil
}

// ParseDestination reads host:port, as the target of a CONNECT has it.
func ParseDestination(text string) (host string, port uint16, err error) {
	host, number, err := cutPort(text)
	if err != nil {
		return "", 0, err
	}
	if port, err = parsePort(number); err != nil {
		return "", 0, err
	}
	host, err = CleanHost(host)
	return host, port, err
}

// CleanHost returns a name in lower case and without the dot at its end, or an address as netip writes it. It refuses other notations of addresses, which
// some resolvers take for numbers: 127.1, 0x7f.1, 2130706433 and 0177.0.0.1.
func CleanHost(host string) (string, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return "", errors.New("has an address with a zone; leave the zone out")
		}
		return a.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if len(name) > maxHostName {
		return "", fmt.Errorf("has a name of %d bytes, the limit is %d", len(name), maxHostName)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxHostLabel || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, isNoHostRune) {
			return "", errors.New("has a host that is neither a name nor an address; use letters, digits, - and _ between dots (other letters in the form xn--)")
		}
	}
	if last := labels[len(labels)-1]; isNumber(last) {
		return "", errors.New("has an address in an unusual notation; write four decimal numbers, or an IPv6 address")
	}
	return name, nil
}

func isNoHostRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// isNumber reports whether resolvers could take the last part of a name for the last number of an address.
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	const decimal, hexadecimal = "0123456789", "0123456789abcdef"
	return strings.Trim(digits, decimal) == "" || hex && strings.Trim(digits, hexadecimal) == ""
}

// Matches reports whether a rule has a destination, whose host is as CleanHost returns it.
func (r NetworkRule) Matches(host string, port uint16) bool {
	return r.hasHost(host) && r.hasPort(strconv.Itoa(int(port)))
}

func (r NetworkRule) hasHost(host string) bool {
	if r.host == "*" || r.host == host {
		return true
	}
	suffix, below := strings.CutPrefix(r.host, "*")
	return below && len(host) > len(suffix) && strings.HasSuffix(host, suffix)
}

func (r NetworkRule) hasPort(port string) bool {
	return r.port == "*" || r.port == port || r.port == "" && (port == "80" || port == "443")
}

// Covers reports whether a rule has all destinations of another one.
func (r NetworkRule) Covers(other NetworkRule) bool {
	return r.coversHosts(other.host) && (r.port == other.port || r.port == "*" || other.port != "*" && other.port != "" && r.hasPort(other.port))
}

func (r NetworkRule) coversHosts(other string) bool {
	if r.host == "*" || r.host == other {
		return true
	}
	domain, below := strings.CutPrefix(other, "*.")
	return (!below || strings.HasPrefix(r.host, "*.")) && other != "*" && r.hasHost(domain)
}

// Reaches reports whether one of the rules has a destination.
func Reaches(rules []NetworkRule, host string, port uint16) bool {
	return slices.ContainsFunc(rules, func(r NetworkRule) bool { return r.Matches(host, port) })
}

// Network usage of an execution, or of a session during one.
type (
	// NetworkUsage counts what code did with its network.
	NetworkUsage struct {
		Connections   int64 `json:"connections" doc:"Connections that were made."`
		Refused       int64 `json:"refused" doc:"Attempts that led to no connection."`
		BytesSent     int64 `json:"bytesSent" doc:"Bytes that went to destinations."`
		BytesReceived int64 `json:"bytesReceived" doc:"Bytes that came from them."`
		// Destinations are at most MaxDestinations.
		Destinations        []NetworkDestination `json:"destinations,omitempty" nullable:"false" doc:"The same for each destination and outcome, in the order of the first attempt. At most 64."`
		DestinationsDropped int64                `json:"destinationsDropped,omitempty" doc:"How many attempts had other destinations, for which there was no room."`
	}
	// NetworkDestination is what code did with one destination, with one outcome.
	NetworkDestination struct {
		Host          string         `json:"host" doc:"Name or address, as the code asked for it."`
		Port          uint16         `json:"port,omitempty" doc:"Absent if the code asked for none."`
		Outcome       NetworkOutcome `json:"outcome" enum:"connected,not_allowed,private_address,not_found,unreachable,timeout,too_many_connections,too_many_bytes,bad_request,request_not_allowed" doc:"connected, or the reason of the refusal: not_allowed (no rule has it), request_not_allowed (network.http has no rule for such a request there), private_address (the name has no public address), not_found (there is no such name), unreachable, timeout. too_many_connections and too_many_bytes are limits of the operator. bad_request: the proxy did not understand the client."`
		Count         int64          `json:"count" doc:"How often."`
		BytesSent     int64          `json:"bytesSent,omitempty"`
		BytesReceived int64          `json:"bytesReceived,omitempty"`
	}
)

// MaxDestinations is the number of destinations and outcomes that are counted apart.
const MaxDestinations = 64

// NetworkOutcome is what became of an attempt to reach a destination.
type NetworkOutcome string

// The outcomes.
const (
	NetworkConnected   NetworkOutcome = "connected"
	NetworkNotAllowed  NetworkOutcome = "not_allowed"
	NetworkPrivate     NetworkOutcome = "private_address"
	NetworkNotFound    NetworkOutcome = "not_found"
	NetworkUnreachable NetworkOutcome = "unreachable"
	NetworkTimeout     NetworkOutcome = "timeout"
	NetworkTooMany     NetworkOutcome = "too_many_connections"
	NetworkBytes       NetworkOutcome = "too_many_bytes"
	NetworkBadRequest  NetworkOutcome = "bad_request"
	NetworkRequest     NetworkOutcome = "request_not_allowed"
)

// Since returns what was added to a usage after an earlier state of it.
func (u NetworkUsage) Since(before NetworkUsage) NetworkUsage {
	u.Connections -= before.Connections
	u.Refused -= before.Refused
	u.BytesSent -= before.BytesSent
	u.BytesReceived -= before.BytesReceived
	u.DestinationsDropped -= before.DestinationsDropped
	var all []NetworkDestination
	for i, d := range u.Destinations {
		if i < len(before.Destinations) { // new ones come at the end
			b := before.Destinations[i]
			d.Count, d.BytesSent, d.BytesReceived = d.Count-b.Count, d.BytesSent-b.BytesSent, d.BytesReceived-b.BytesReceived
		}
		if d.Count > 0 || d.BytesSent > 0 || d.BytesReceived > 0 {
			all = append(all, d)
		}
	}
	u.Destinations = all
	return u
}

// network checks what a request says about its network, and returns its rules in their usual form.
func (l Limits) network(v *validation, n *Network) *Network {
	if n == nil {
		return nil
	}
	if len(n.Allow) > maxNetworkRules {
		v.add("network.allow", "has %d destinations, the limit is %d", len(n.Allow), maxNetworkRules)
		return nil
	}
	if n.Allow == nil && len(n.HTTP) == 0 {
		v.add("network", "names no destination; send allow, http or both")
		return nil
	}
	clean := &Network{Allow: make([]string, 0, len(n.Allow))}
	for i, text := range n.Allow {
		rule, ok := l.networkRule(v, fmt.Sprintf("network.allow[%d]", i), text)
		if ok && !slices.Contains(clean.Allow, rule.String()) {
			clean.Allow = append(clean.Allow, rule.String())
		}
	}
	clean.HTTP = l.httpRules(v, n.HTTP)
	return clean
}

// networkRule reads a rule of a request, which must be within what operator and key allow.
func (l Limits) networkRule(v *validation, field, text string) (NetworkRule, bool) {
	rule, err := ParseNetworkRule(text)
	switch {
	case err != nil:
		v.add(field, "%s %s", quote(text), err)
	case len(l.Egress) == 0:
		v.add(field, "%s is not allowed: this Kaa lets no code reach a network; its operator can change that (KAA_EGRESS)", quote(text))
	case !covered(l.Egress, rule):
		v.add(field, "%s is not allowed; the operator allows %s", quote(text), rulesText(l.Egress))
	case l.keyEgress != nil && !covered(l.keyEgress, rule):
		v.add(field, "%s is not allowed; this API key allows %s", quote(text), rulesText(l.keyEgress))
	default:
		return rule, true
	}
	return rule, false
}

func covered(by []NetworkRule, rule NetworkRule) bool {
	return slices.ContainsFunc(by, func(r NetworkRule) bool { return r.Covers(rule) })
}

// rulesText lists rules for a message.
func rulesText(rules []NetworkRule) string {
	const most = 10
	var texts []string
	for i, r := range rules {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(rules)-most))
			break
		}
		texts = append(texts, r.String())
	}
	return strings.Join(texts, ", ")
}

// Rules returns the rules of a network; those that cannot be read, of a later release, allow nothing.
func (n Network) Rules() []NetworkRule {
	rules, _ := ParseNetworkRules(n.Allow)
	return rules
}

// ParseNetworkRules reads rules. The error is about the first one that is wrong; the others are returned all the same.
func ParseNetworkRules(texts []string) (rules []NetworkRule, err error) {
	for _, text := range texts {
		rule, wrong := ParseNetworkRule(text)
		if wrong == nil {
			rules = append(rules, rule)
		} else if err == nil {
			err = fmt.Errorf("%s %w", quote(text), wrong)
		}
	}
	return rules, err
}
