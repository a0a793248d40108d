package app

import (
	"slices"
	"strings"
	"testing"
)

// TestChosenDialects: KAA_DIALECTS chooses among the dialects that there are, and nothing else.
func TestChosenDialects(t *testing.T) {
	t.Parallel()
	all := []Dialect{{Name: "one"}, {Name: "two"}, {Name: "three"}}
	for _, tt := range []struct {
		names, want string // separated by spaces; ! for a refusal
	}{
		{"", "one two three"},
		{"two", "two"},
		{"three one", "one three"},
		{"none", ""},
		{"one none", "!"},
		{"four", "!"},
	} {
		chosen, err := chosenDialects(slices.Clone(all), strings.Fields(tt.names))
		var names []string
		for _, d := range chosen {
			names = append(names, d.Name)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = "!"
		}
		if got != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.names, got, err, tt.want)
		}
	}
}
