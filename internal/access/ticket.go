package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// A ticket lets its holder do, with one thing, what the holder of a key may do with all of the key's: the clients of some
// protocols get one with a sandbox and send it instead of the key. It begins with the beginning of the digest of the key, which
// names the key. The rest is a MAC of the thing by the whole digest, which no caller knows. So nothing has to be kept, each
// process can check it, and it ends with the key.

// Ticket returns the ticket of the key with that digest for a thing.
func Ticket(digest, thing string) string {
	mac := hmac.New(sha256.New, []byte(digest))
	mac.Write([]byte("ticket:" + thing))
	return Holder(digest) + hex.EncodeToString(mac.Sum(nil))
}

// Digests returns the digests of the valid keys by their owners, which owner names.
func (r *Keyring) Digests(owner func(Key) string) map[string][]string {
	all := map[string][]string{}
	for _, g := range *r.current.Load() {
		if !g.expired(r.now()) {
			of := owner(g.Key)
			all[of] = append(all[of], g.SHA256)
		}
	}
	return all
}

// Holder returns what the tickets of the key with that digest begin with.
func Holder(digest string) string { return digest[:min(len(digest), shortDigest)] }

// FindTicket returns the grant of the key that a ticket for a thing is of.
func (r *Keyring) FindTicket(ticket, thing string) (*Grant, error) {
	if len(ticket) < shortDigest {
		return nil, ErrUnknown
	}
	return r.FindHolder(ticket[:shortDigest], thing, func(known string) bool { return hmac.Equal([]byte(ticket), []byte(known)) })
}

// FindHolder returns the grant of the key whose tickets begin with holder, if its ticket for a thing passes the check. So a request may
// be signed with a ticket that it does not bring.
func (r *Keyring) FindHolder(holder, thing string, check func(ticket string) bool) (*Grant, error) {
	g, ok := (*r.tickets.Load())[holder]
	if !ok || !check(Ticket(g.SHA256, thing)) {
		return nil, ErrUnknown
	}
	now := r.now()
	if g.expired(now) {
		return nil, ErrExpired
	}
	g.used.Store(now.UnixMilli())
	return g, nil
}
