package service

import (
	"context"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// MaxUsageDays is the largest number of days of which figures of usage can be read at once.
const MaxUsageDays = 400

// UsageRequest chooses figures of usage.
type UsageRequest struct {
	From, To time.Time // the first and the last day, in UTC
	Tenant   string    // whose; empty for the caller's own, or all of an operator's
	Cursor   string
	Limit    int
}

// Usage returns a page of the figures of each day, oldest first, and the cursor of the next page: the caller's own figures, or
// for an operator those of all or of one tenant.
func (s *Service) Usage(ctx context.Context, c Caller, r UsageRequest) ([]job.Usage, string, error) {
	if err := c.may(access.Read); err != nil {
		return nil, "", err
	}
	f := job.UsageFilter{From: r.From, To: r.To, Owner: c.ID(), All: c.All(), Cursor: r.Cursor, Limit: r.Limit}
	if r.Tenant != "" && r.Tenant != c.Tenant {
		if err := c.may(access.Admin); err != nil {
			return nil, "", err
		}
	}
	if r.Tenant != "" {
		f.Owner, f.All = job.OwnerOfTenant(r.Tenant), false
	}
	return s.cfg.Usage.Usage(ctx, f)
}

// PresentUse returns what a tenant, or the caller, has at present of each bounded thing. It is nil for an operator who names
// no tenant.
func (s *Service) PresentUse(ctx context.Context, c Caller, tenant string) (*job.PresentUse, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	owner, own := c.ID(), tenant == "" || tenant == c.Tenant
	if !own {
		if err := c.may(access.Admin); err != nil {
			return nil, err
		}
		owner = job.OwnerOfTenant(tenant)
	} else if c.All() && tenant == "" {
		return nil, nil //nolint:nilnil // nil without an error is in the contract
	}
	p, err := s.cfg.Usage.PresentUse(ctx, owner)
	if err != nil {
		return nil, err
	}
	if own {
		p = p.OfKey(c.limits())
	}
	return &p, nil
}
