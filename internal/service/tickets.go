package service

import (
	"context"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// SessionTicket is a ticket for a session, of a key of its owner.
type SessionTicket struct{ Session, Ticket string }

// ticketsRead is how many sessions are read at once.
const ticketsRead = 200

// SessionTickets returns the tickets for the newest live sessions of all callers, most of them at most. It is for requests that prove that they have a
// ticket, and do not say which: signed URLs. So each process finds the session of one. thing names a session in its tickets; empty leaves it out.
func (s *Service) SessionTickets(ctx context.Context, most int, thing func(job.Session) string) ([]SessionTicket, error) {
	digests := map[string][]string{"": {""}} // without keys
	if s.cfg.Keyring != nil {
		digests = s.cfg.Keyring.Digests(func(k access.Key) string { return Caller{Tenant: k.Tenant, Digest: k.SHA256}.ID() })
	}
	var all []SessionTicket
	filter := job.SessionFilter{Viewer: job.Viewer{All: true}, Limit: ticketsRead}
	for looked := 0; looked < most; looked += ticketsRead {
		sessions, next, err := s.cfg.Sessions.ListSessions(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, se := range sessions {
			name := thing(se)
			if name == "" {
				continue
			}
			for _, digest := range digests[se.Owner] {
				all = append(all, SessionTicket{se.ID, access.Ticket(digest, name)})
			}
		}
		if filter.Cursor = next; next == "" {
			break
		}
	}
	return all, nil
}

// TicketFor returns the ticket of the caller's key for a thing. It is empty if it would not lead back to the caller: without keys, for a token of an identity
// provider, and for an operator who acts for a tenant.
func (s *Service) TicketFor(c Caller, thing string) string {
	if s.cfg.Keyring == nil || c.Digest == "" {
		return ""
	}
	ticket := c.Ticket(thing)
	grant, err := s.cfg.Keyring.FindTicket(ticket, thing)
	if err != nil || grant.SHA256 != c.Digest || grant.Tenant != c.Tenant {
		return ""
	}
	return ticket
}
