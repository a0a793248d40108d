package door

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/service"
)

// tenantHeader names the tenant for which a caller with the scope admin acts.
const tenantHeader = "Kaa-Tenant"

// authenticated lets requests with one of the keys, or with a token, pass; without a keyring, all. A request
// ends when its key or token is no longer valid.
func (in *entrance) authenticated(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if in.cfg.Keys == nil || in.dialect.Public(r) {
		next(w, r)
		return
	}
	grant, err := in.grant(r)
	if err != nil {
		in.refuse(w, r, err)
		return
	}
	caller := service.Caller{Tenant: grant.Tenant, KeyID: grant.ID, Digest: grant.SHA256, Scopes: grant.Scopes, Limits: grant.Limits}
	call := service.CallOf(r.Context())
	call.Caller = caller
	// An empty one is refused, and two are: a program that lost the name must not see all tenants.
	if names := r.Header.Values(tenantHeader); len(names) > 0 {
		if call.Caller, err = actingFor(caller, strings.Join(names, ",")); err != nil {
			in.refuse(w, r, err)
			return
		}
		call.ActsFor = call.Caller.Tenant
	}
	ctx, end := grant.Bound(r.Context())
	defer end()
	next(w, r.WithContext(ctx))
}

// grant returns what the key or the token of a request allows. Keys come first: one that the operator chose may
// look like a token.
func (in *entrance) grant(r *http.Request) (*access.Grant, error) {
	if ticketed, ok := in.dialect.(Ticketed); ok {
		if ticket, thing := ticketed.Ticket(r); ticket != "" {
			grant, err := in.cfg.Keys.FindTicket(ticket, thing)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", service.ErrUnauthorized, err)
			}
			return grant, nil
		}
	}
	if signed, ok := in.dialect.(Signed); ok {
		if holder, thing, check := signed.Signature(r); check != nil {
			grant, err := in.cfg.Keys.FindHolder(holder, thing, check)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", service.ErrUnauthorized, err)
			}
			return grant, nil
		}
	}
	secret := in.dialect.Key(r)
	grant, err := in.cfg.Keys.Find(secret)
	if in.cfg.Tokens != nil && errors.Is(err, access.ErrUnknown) && access.IsToken(secret) {
		grant, err = in.cfg.Tokens(r.Context(), secret)
	}
	switch {
	case err == nil:
		return grant, nil
	case errors.Is(err, access.ErrProvider) || r.Context().Err() != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", service.ErrUnauthorized, err)
}

// actingFor returns the caller that an operator is when it acts for a tenant: with the rights of
// that tenant's keys, and no more.
func actingFor(c service.Caller, tenant string) (service.Caller, error) {
	if !c.All() {
		return c, &service.ScopeError{Need: access.Admin}
	}
	if err := access.CheckTenant(tenant); err != nil {
		return c, fmt.Errorf("%w: %w", service.ErrTenant, err)
	}
	c.Tenant, c.Scopes = tenant, access.UsualScopes()
	return c, nil
}
