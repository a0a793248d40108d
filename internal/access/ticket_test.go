package access

import (
	"errors"
	"testing"
)

// TestTickets: a ticket is of one key and for one thing, and ends with the key.
func TestTickets(t *testing.T) {
	t.Parallel()
	r := NewKeyring()
	keys := Configured([]string{"first-key-of-a-test", "second-key-of-a-test"}, nil)
	r.Set(SourceEnvironment, keys)
	ticket := Ticket(keys[0].SHA256, "one")
	if g, err := r.FindTicket(ticket, "one"); err != nil || g.ID != keys[0].ID {
		t.Fatalf("%+v, %v", g, err)
	}
	for name, other := range map[string]struct{ ticket, thing string }{
		"another thing":         {ticket, "two"},
		"none":                  {"", "one"},
		"a short one":           {ticket[:20], "one"},
		"a longer one":          {ticket + "0", "one"},
		"a changed one":         {ticket[:len(ticket)-1] + "x", "one"},
		"of another key":        {keys[1].SHA256[:shortDigest] + ticket[shortDigest:], "one"},
		"of a key that is none": {Ticket(Digest("third"), "one"), "one"},
		"of no key":             {Ticket("", "one"), "one"},
	} {
		if g, err := r.FindTicket(other.ticket, other.thing); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
	for name, other := range map[string]struct{ holder, thing, signed string }{
		"of the key": {Holder(keys[0].SHA256), "one", ticket}, "of another thing": {Holder(keys[0].SHA256), "two", ticket},
		"of another key": {Holder(keys[1].SHA256), "one", ticket}, "of a key that is none": {Holder(Digest("third")), "one", ticket}, "of no key": {"", "one", ticket},
	} {
		g, err := r.FindHolder(other.holder, other.thing, func(known string) bool { return known == other.signed })
		if found := name == "of the key"; found != (err == nil) || found && g.ID != keys[0].ID || !found && !errors.Is(err, ErrUnknown) {
			t.Errorf("signed with a ticket %s: %+v, %v", name, g, err)
		}
	}
	r.Set(SourceEnvironment, keys[1:])
	if _, err := r.FindTicket(ticket, "one"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the ticket of a revoked key: %v", err)
	}
}
