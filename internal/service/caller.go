package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Caller identifies who makes a request. The zero Caller is an anonymous one.
type Caller struct {
	// Tenant is whom it belongs to. It is empty for the keys of the configuration: they are one
	// tenant, in which each key has sessions and shares of its own.
	Tenant string
	// KeyID names its key in the list of keys, the access log and the audit log.
	KeyID string
	// Digest is that of its API key, in hex. It identifies the key without being it.
	Digest string
	// Scopes are what it may do; none stand for access.UsualScopes.
	Scopes access.Scopes
	// Limits returns the limits of its key as they are now; nil for none. The call may be a socket that
	// lives longer than they do.
	Limits func() *job.KeyLimits
}

// limits are those of its key; nil for none.
func (c Caller) limits() *job.KeyLimits {
	if c.Limits == nil {
		return nil
	}
	return c.Limits()
}

// idLength is the length at which a key's digest is kept with every job.
const idLength = 16

// ID names the owner of the caller's jobs, sessions and files, in records, shares and logs: its
// tenant, or its key if it is one of the configuration.
func (c Caller) ID() string {
	if c.Tenant != "" {
		return job.OwnerOfTenant(c.Tenant)
	}
	return c.Digest[:min(len(c.Digest), idLength)]
}

// All reports whether it may see and do everything, of all tenants.
func (c Caller) All() bool { return c.Scopes.Has(access.Admin) }

// may returns a ScopeError unless the caller has a scope. Every exported method that takes a
// Caller begins with it.
func (c Caller) may(scope access.Scope) error {
	if len(c.Scopes) > 0 && !c.Scopes.Has(scope) || len(c.Scopes) == 0 && scope == access.Admin {
		return &ScopeError{Need: scope}
	}
	return nil
}

// Ticket returns a text that lets its holder act for the caller's key with one thing, such as a session:
// access.Ticket.
func (c Caller) Ticket(thing string) string { return access.Ticket(c.Digest, thing) }

// Holder is what the caller's tickets begin with: access.Holder.
func (c Caller) Holder() string { return access.Holder(c.Digest) }

// idempotencyScope is where its idempotency keys are its own.
func (c Caller) idempotencyScope() string {
	if c.Tenant != "" {
		return c.ID()
	}
	return c.Digest
}

// viewer returns the caller with its right to see.
func (c Caller) viewer() job.Viewer { return job.Viewer{Caller: c.ID(), All: c.All()} }

// owner returns the caller without the right to see what others own.
func (c Caller) owner() job.Viewer { return job.Viewer{Caller: c.ID()} }

// Call is what becomes known of one request while it is handled, for the access log. The
// middleware in front of the dialects makes it; only the goroutine that handles the request
// writes to it.
type Call struct {
	Caller Caller
	// Route is the pattern of the path; empty if no route matched. Prefix is what the paths of the dialect begin with
	// for callers.
	Route, Prefix string
	// Operation is the dialect's name of the request's operation; empty if it has none.
	Operation string
	// Executes: the request has code executed, and changes nothing else.
	Executes bool
	// ActsFor is the tenant for which an operator makes the call.
	ActsFor string
	// Problem is the code of the error that the request was answered with.
	Problem          string
	JobID, SessionID string
	// APIKeyID is the key that the call makes or revokes.
	APIKeyID string
	// HeadOnly: only the header of the answer is sent.
	HeadOnly bool
	// BodyLimit is the number of bytes that a body may have, also when it is unpacked.
	BodyLimit int64

	onRecorded []func()
	onUpgrade  func()
}

// OnRecorded has f called when what the request asks for is recorded. It gives back what the
// request holds of memory.
func (c *Call) OnRecorded(f func()) { c.onRecorded = append(c.onRecorded, f) }

// OnUpgrade has f called when the connection of the call becomes one of another protocol.
func (c *Call) OnUpgrade(f func()) { c.onUpgrade = f }

// Upgraded says that the connection of the call has become one of another protocol.
func (c *Call) Upgraded() {
	if c.onUpgrade != nil {
		c.onUpgrade()
	}
}

type callKey struct{}

// WithCall returns a context that carries c.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf returns the call that a context belongs to; one that is not logged if there is none.
func CallOf(ctx context.Context) *Call {
	if c, ok := ctx.Value(callKey{}).(*Call); ok {
		return c
	}
	return new(Call)
}

// CallerOf returns the caller of the call that a context belongs to.
func CallerOf(ctx context.Context) Caller { return CallOf(ctx).Caller }

// recorded notes the job or session that a request asked for.
func (c *Call) recorded(drafts []job.NewJob, created []job.Created) {
	if len(drafts) == 1 {
		if asked := drafts[0].Job; asked.InSession {
			c.SessionID = asked.SessionID
		}
		if created[0].Err == nil {
			c.JobID = created[0].Job.ID
		}
	}
	for _, f := range c.onRecorded {
		f()
	}
}

// visible looks a job up for the caller. A job that the caller may not see is answered as one
// that never was. Every method that takes the id of a job begins with it.
func (s *Service) visible(ctx context.Context, c Caller, id string, look func(context.Context, string) (job.Job, error)) (job.Job, error) {
	j, err := look(c.viewer().In(ctx), id)
	gone := (*job.PrivateGoneError)(nil)
	switch {
	case errors.As(err, &gone) && !c.viewer().Knew(gone.Owner, gone.Private), err == nil && !c.viewer().Sees(j):
		return job.Job{}, fmt.Errorf("look for job: %w", job.ErrNotFound)
	}
	if err == nil && j.Unfed {
		return s.cfg.Lookup.Complete(ctx, j)
	}
	return j, err
}
