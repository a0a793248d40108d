package job

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// KeyLimits are the limits of one API key, beside those of the configuration: the lower one counts.
// A nil field, or an empty one, is none. A nil *KeyLimits has none at all.
type KeyLimits struct {
	Rate        *float64 `json:"rate,omitempty"`        // requests a second with this key
	Burst       *int     `json:"burst,omitempty"`       // requests at once; Rate, rounded down, at least 1, by default
	Concurrency *int     `json:"concurrency,omitempty"` // jobs of its owner that run at once
	Depth       *int     `json:"depth,omitempty"`       // jobs of its owner that wait
	Sessions    *int     `json:"sessions,omitempty"`    // live sessions of its owner
	// SessionMemory and SessionDisk are the bytes that the live sessions of its owner may take, by their limits.
	SessionMemory *int64 `json:"sessionMemoryBytes,omitempty"`
	SessionDisk   *int64 `json:"sessionDiskBytes,omitempty"`
	// Ceilings are those of a request: timeout, in seconds, and the names of the limit table.
	Ceilings QuotaRequest `json:"ceilings,omitempty"`
	// Runtimes are those that a request may name. The first is that of requests which name none.
	Runtimes []string `json:"runtimes,omitempty"`
	// Egress are destinations, in the form of network.allow; those of a request must be within them.
	Egress []string `json:"egress,omitempty"`
}

// Bounds of the numbers of a key.
const (
	MinRate = 0.001 // requests a second, as those of the configuration
	MaxRate = 100_000.0
	// mostOfKey is what a Redis script can still count exactly.
	mostOfKey       = 1_000_000_000
	mostBytesOfKey  = 1 << 50
	mostKeyRuntimes = 64
	// timeoutCeiling is the name of the ceiling that is not in the limit table.
	timeoutCeiling = "timeout"
)

// Check lists what is wrong, with the paths of the fields.
func (k *KeyLimits) Check() []FieldError {
	if k == nil {
		return nil
	}
	var v validation
	if k.Rate != nil && !(*k.Rate >= MinRate && *k.Rate <= MaxRate) {
		v.add("limits.rate", "must be from %s to %s requests a second", decimal(MinRate), decimal(MaxRate))
	}
	if k.Burst != nil && k.Rate == nil {
		v.add("limits.burst", "needs limits.rate")
	}
	for _, n := range []struct {
		name   string
		number *int
	}{{"burst", k.Burst}, {"concurrency", k.Concurrency}, {"depth", k.Depth}, {"sessions", k.Sessions}} {
		if n.number != nil && (*n.number < 1 || *n.number > mostOfKey) {
			v.add("limits."+n.name, "must be from 1 to %d; leave it out for no limit of the key's own", mostOfKey)
		}
	}
	for _, n := range []struct {
		name   string
		number *int64
	}{{"sessionMemoryBytes", k.SessionMemory}, {"sessionDiskBytes", k.SessionDisk}} {
		if n.number != nil && (*n.number < 1 || *n.number > mostBytesOfKey) {
			v.add("limits."+n.name, "must be from 1 to %d bytes; leave it out for no limit of the key's own", int64(mostBytesOfKey))
		}
	}
	k.checkCeilings(&v)
	k.checkRuntimes(&v)
	k.checkEgress(&v)
	return v.fields
}

func (k *KeyLimits) checkCeilings(v *validation) {
	for _, name := range slices.Sorted(maps.Keys(k.Ceilings)) {
		field, asked := "limits.ceilings."+name, k.Ceilings[name]
		if name == timeoutCeiling {
			v.seconds(field, &asked, minTimeout, longestCPUTime, 0)
			continue
		}
		row := limitOf(name)
		if row == nil {
			v.add("limits.ceilings", "%s is no limit of an execution; use some of %s", quote(name), strings.Join(CeilingNames(), ", "))
		} else if complaint := row.ceiling(asked, new(Quota)); complaint != "" {
			v.add(field, "%s", complaint)
		}
	}
}

func (k *KeyLimits) checkRuntimes(v *validation) {
	const field = "limits.runtimes"
	switch {
	case k.Runtimes == nil:
		return
	case len(k.Runtimes) == 0:
		v.add(field, "is empty, which would allow none; leave it out to allow all")
	case len(k.Runtimes) > mostKeyRuntimes:
		v.add(field, "has %d runtimes, the limit is %d", len(k.Runtimes), mostKeyRuntimes)
		return
	}
	for i, name := range k.Runtimes {
		switch {
		case !ValidRuntimeName(name):
			v.add(field, "%s is not the name of a runtime; use up to 64 lower-case letters, digits, dots, underscores and dashes", quote(name))
		case slices.Contains(k.Runtimes[:i], name):
			v.add(field, "%s occurs twice", quote(name))
		}
	}
}

func (k *KeyLimits) checkEgress(v *validation) {
	const field = "limits.egress"
	switch {
	case k.Egress == nil:
	case len(k.Egress) == 0:
		v.add(field, "is empty; name the destinations, or leave it out to allow those of the operator")
	case len(k.Egress) > maxNetworkRules:
		v.add(field, "has %d destinations, the limit is %d", len(k.Egress), maxNetworkRules)
	default:
		if _, err := ParseNetworkRules(k.Egress); err != nil {
			v.add(field, "%s", err)
		}
	}
}

// CeilingNames are the names of ceilings.
func CeilingNames() []string {
	names := []string{timeoutCeiling}
	for _, l := range limitTable {
		names = append(names, l.Name)
	}
	return names
}

func limitOf(name string) *Limit {
	if i := slices.IndexFunc(limitTable, func(l *Limit) bool { return l.Name == name }); i >= 0 {
		return limitTable[i]
	}
	return nil
}

// IsZero reports whether there are none.
func (k *KeyLimits) IsZero() bool {
	return k == nil || k.Rate == nil && k.Burst == nil && k.Concurrency == nil && k.Depth == nil && k.Sessions == nil && k.SessionMemory == nil && k.SessionDisk == nil &&
		len(k.Ceilings) == 0 && len(k.Runtimes) == 0 && len(k.Egress) == 0
}

// RateOf returns the rate of the key: none if its PerSecond is 0.
func (k *KeyLimits) RateOf() RateLimit {
	if k == nil || k.Rate == nil {
		return RateLimit{}
	}
	burst := max(1, int(*k.Rate))
	if k.Burst != nil {
		burst = *k.Burst
	}
	return RateLimit{PerSecond: *k.Rate, Burst: burst}
}

// MostRunning is how many jobs may run because of the key; 0 is no limit of the key.
func (k *KeyLimits) MostRunning() int {
	return k.number(func(k *KeyLimits) *int { return k.Concurrency })
}

// MostWaiting is the same for jobs that wait.
func (k *KeyLimits) MostWaiting() int { return k.number(func(k *KeyLimits) *int { return k.Depth }) }

// SessionBounds are the same for sessions.
func (k *KeyLimits) SessionBounds() SessionBounds {
	b := SessionBounds{MostOwn: k.number(func(k *KeyLimits) *int { return k.Sessions })}
	if k != nil && k.SessionMemory != nil {
		b.OwnMemory = *k.SessionMemory
	}
	if k != nil && k.SessionDisk != nil {
		b.OwnDisk = *k.SessionDisk
	}
	return b
}

func (k *KeyLimits) number(of func(*KeyLimits) *int) int {
	if k == nil || of(k) == nil {
		return 0
	}
	return *of(k)
}

// Runtime returns the runtime of a request that names this one, or none. RuntimeError: the key may
// not use it.
func (k *KeyLimits) Runtime(name string) (string, error) {
	switch {
	case k == nil || len(k.Runtimes) == 0:
		return name, nil
	case name == "":
		return k.Runtimes[0], nil
	case !slices.Contains(k.Runtimes, name):
		return "", &RuntimeError{Name: name, Allowed: k.Runtimes}
	}
	return name, nil
}

// OfRuntimes returns those of the runtimes that requests of the key may name.
func (k *KeyLimits) OfRuntimes(all []Runtime) []Runtime {
	if k == nil || len(k.Runtimes) == 0 {
		return all
	}
	var some []Runtime
	for _, rt := range all {
		if slices.Contains(k.Runtimes, rt.Name) {
			rt.Default = rt.Name == k.Runtimes[0]
			some = append(some, rt)
		}
	}
	return some
}

// RuntimeError says that the caller's key may not use a runtime.
type RuntimeError struct {
	Name    string
	Allowed []string
}

func (e *RuntimeError) Error() string {
	return fmt.Sprintf("this API key may not use the runtime %s; use one of %s", quote(e.Name), strings.Join(e.Allowed, ", "))
}

// For returns the limits of requests with a key: its ceilings where they are lower.
func (l Limits) For(k *KeyLimits) Limits {
	if k != nil && len(k.Egress) > 0 {
		l.keyEgress, _ = ParseNetworkRules(k.Egress) // Check refuses wrong ones where they are read
		l.keyEgress = append([]NetworkRule{}, l.keyEgress...)
	}
	if k == nil || len(k.Ceilings) == 0 {
		return l
	}
	l.ofKey = make(map[string]bool, len(k.Ceilings))
	for name, asked := range k.Ceilings {
		if name == timeoutCeiling {
			if most := time.Duration(asked * float64(time.Second)); most < l.MaxTimeout {
				l.MaxTimeout, l.ofKey[name] = most, true
				l.DefaultTimeout = min(l.DefaultTimeout, most)
			}
			continue
		}
		row := limitOf(name)
		var own Quota
		if row == nil || row.ceiling(asked, &own) != "" {
			continue // Check refuses it where it is read
		}
		if row.ZeroCeiling != "" && row.IsZero(&l.MaxQuota) || row.Less(&own, &l.MaxQuota) {
			row.Copy(&l.MaxQuota, &own)
			l.ofKey[name] = true
		}
		if row.Unlimited && row.IsZero(&l.DefaultQuota) || row.Less(&l.MaxQuota, &l.DefaultQuota) {
			row.Copy(&l.DefaultQuota, &l.MaxQuota)
		}
	}
	return l
}

// ownCeiling is what a message adds about a ceiling that is the key's.
func (l Limits) ownCeiling(name string) string {
	if l.ofKey[name] {
		return ", the ceiling of this API key"
	}
	return ""
}

// ceiling puts the ceiling of a key into q, or says why it can be none.
func (f field[N]) ceiling(asked float64, q *Quota) (complaint string) {
	least := f.number(f.leastSet)
	if f.whole {
		least = max(least, 1)
	}
	if !(asked >= least && asked <= f.most) || f.whole && asked != math.Trunc(asked) {
		return fmt.Sprintf("must be from %s to %s%s", decimal(least), decimal(f.most), f.unit)
	}
	*f.of(q) = f.read(asked)
	return ""
}
