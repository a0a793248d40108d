package packages

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
)

// TestPlaces: the two places go to those that wait, in order of arrival. Once there are owners, one of them has half of the places at most, and
// they take turns.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string]string{ // a1: a set of a waits for a place; a1+b: b asks for it, too; -a1: it leaves; =a1,b1: these have places
		"without owners":           "1 2 3 4 =1,2 -1 =2,3 -3 =2,4 -4 -2 =",
		"half of them":             "a1 a2 b1 a3 =a1,b1 -b1 =a1 -a1 =a2 -a2 =a3 -a3 =",
		"the next owner":           "a1 a2 b1 c1 =a1,b1 -b1 =a1,c1 -c1 =a1",
		"in turns":                 "a1 b1 b2 b3 c1 =a1,b1 -b1 =a1,b2 -b2 =a1,c1 -c1 =a1,b3",
		"of another asker":         "a1 a2 a3 =a1 a3+b =a1,a3 -a1 =a2,a3 -a3 b1 =a2,b1",
		"of one that has none":     "a1 b1 a2 a2+b =a1,b1 -b1 =a1,a2 b2 =a1,a2 -a1 =a2 -a2 =b2",
		"who waits no longer":      "a1 a2 a3 -a2 -a1 =a3",
		"again":                    "a1 b1 -a1 a1 a2 =a1,b1",
		"before there were owners": "1 2 a1 a2 =1,2 -1 =2,a1 -2 =a1 -a1 =a2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, all := places{}, map[string]*place{}
			for step := range strings.FieldsSeq(steps) {
				set, asker, asks := strings.Cut(strings.TrimLeft(step, "-="), "+")
				switch {
				case step[0] == '=':
					var held []string
					for set, p := range all {
						if l.has(p) {
							held = append(held, set)
						}
					}
					slices.Sort(held)
					if got := strings.Join(held, ","); got != set {
						t.Errorf("%s of %s: %s", step, steps, got)
					}
				case step[0] == '-':
					l.leave(all[set])
				case asks:
					l.ask(all[set], asker)
				default:
					all[set] = &place{}
					l.ask(all[set], strings.TrimRight(set, "0123456789"))
					l.wait(all[set])
				}
			}
		})
	}
}

// awaits are records to which waits for a place are told.
type awaits struct {
	Records
	told chan string
}

func (a awaits) AwaitInstallation(_ context.Context, set string, _ time.Duration) error {
	select {
	case a.told <- set:
	default:
	}
	return nil
}

// TestPlacesAtTheEnd: the end of the manager ends a wait for a place, of which callers were told.
func TestPlacesAtTheEnd(t *testing.T) {
	t.Parallel()
	told := make(chan string, 1)
	m := &Manager{cfg: Config{Records: awaits{told: told}}}
	m.life, m.end = context.WithCancel(t.Context())
	first, second := &place{askers: []string{"a"}}, &place{askers: []string{"a"}}
	m.places.shares.Fair(true)
	if err := m.enter("first", first); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.enter("second", second) }()
	if set := <-told; set != "second" {
		t.Errorf("%s waits", set)
	}
	m.end()
	if err := <-done; !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("at the end: %v", err)
	}
	m.places.leave(second)
	m.places.leave(first)
	if n := m.places.shares.InUse(); n != 0 || len(m.places.waiting) != 0 {
		t.Errorf("%d places are taken, and %d sets wait", n, len(m.places.waiting))
	}
}
