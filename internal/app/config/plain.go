package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/interpreter"
)

// Names in KAA_PLAIN besides those that the interpreter knows: see docs/architecture/tricks.md.
const (
	PlainShare   = "share"   // what is preloaded stays where its import has put it
	PlainGate    = "gate"    // a runner asks Redis for tasks all the time
	PlainEnqueue = "enqueue" // a record and its task are written one after the other
)

// Plain names the tricks that a process does without.
type Plain []string

// allPlain are all that can be named.
func allPlain() Plain {
	return Plain{interpreter.PlainMachineCode, interpreter.PlainPages, interpreter.PlainBallast, interpreter.PlainFonts, PlainShare, PlainGate, PlainEnqueue}
}

// UnmarshalText reads "true", "false", or names with commas between them.
func (p *Plain) UnmarshalText(text []byte) error {
	if all, err := strconv.ParseBool(string(text)); err == nil {
		*p = nil
		if all {
			*p = allPlain()
		}
		return nil
	}
	*p = nil
	for name := range strings.SplitSeq(string(text), ",") {
		name = strings.TrimSpace(name)
		if !allPlain().Has(name) {
			return fmt.Errorf("%q is not true, false, or some of %s", name, strings.Join(allPlain(), ","))
		}
		*p = append(*p, name)
	}
	return nil
}

// Has reports whether a process does without the trick of a name.
func (p Plain) Has(name string) bool { return slices.Contains(p, name) }

// OfInterpreter are those that zygotes do without.
func (p Plain) OfInterpreter() []string {
	others := []string{PlainShare, PlainGate, PlainEnqueue}
	return slices.DeleteFunc(slices.Clone(p), func(name string) bool { return slices.Contains(others, name) })
}
