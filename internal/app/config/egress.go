package config

import (
	"net/netip"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// egressOff is a value of KAA_EGRESS for no destination.
	egressOff = "off"
	// mostEgressConnections of one sandbox leave places for others: the runner has 1024.
	mostEgressConnections = 512
)

// EgressRules are the destinations that code may be allowed to reach; none if no code may reach any.
func (c *Config) EgressRules() []job.NetworkRule {
	rules, _ := c.egressRules()
	return rules
}

func (c *Config) egressRules() ([]job.NetworkRule, error) {
	texts := trimmed(c.Egress)
	if len(texts) == 1 && texts[0] == egressOff {
		return nil, nil
	}
	return job.ParseNetworkRules(texts)
}

// EgressPrefixes are the ranges of addresses that are not public, and allowed all the same.
func (c *Config) EgressPrefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range trimmed(c.EgressPrivate) {
		if p, err := parseRange(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// parseRange reads a range of addresses, or one address.
func parseRange(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(text)
}

func (c *Config) checkEgress(bad func(format string, args ...any)) {
	if _, err := c.egressRules(); err != nil {
		bad("KAA_EGRESS: %w; write off, or destinations as api.github.com:443,*.example.com", err)
	}
	for _, text := range trimmed(c.EgressPrivate) {
		if _, err := parseRange(text); err != nil {
			bad("KAA_EGRESS_PRIVATE: %q is no range of addresses; write 10.1.0.0/16", text)
		}
	}
	if c.EgressConnections < 1 || c.EgressConnections > mostEgressConnections {
		bad("KAA_EGRESS_CONNECTIONS must be from 1 to %d", mostEgressConnections)
	}
	if c.EgressIntercept && len(c.EgressRules()) == 0 {
		bad("KAA_EGRESS_INTERCEPT is set, but KAA_EGRESS allows no destination; set it, too")
	}
	if c.SecretsFile == "" {
		return
	}
	if !c.EgressIntercept {
		bad("KAA_SECRETS_FILE is set, but no request can use a secret; set KAA_EGRESS_INTERCEPT=true, too")
	}
	if _, err := SecretsIn(c.SecretsFile); err != nil {
		bad("KAA_SECRETS_FILE: %w", err)
	}
}
