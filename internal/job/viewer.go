package job

import (
	"context"
	"strings"
)

// An owner is whom jobs, sessions and files belong to, and who has shares and limits: a tenant, as
// OwnerOfTenant writes it; or else a key of the configuration, by the beginning of its digest; or
// nothing for callers without a key. The latter two are one tenant without a name.
const tenantMark = "@"

// OwnerOfTenant returns the owner that a tenant is.
func OwnerOfTenant(name string) string { return tenantMark + name }

// TenantOf returns the tenant that an owner is; empty for a key of the configuration.
func TenantOf(owner string) string {
	name, ok := strings.CutPrefix(owner, tenantMark)
	if !ok {
		return ""
	}
	return name
}

// Viewer is a caller that wants to see jobs, or to act on them.
type Viewer struct {
	Caller string // its owner; empty if the caller had no key
	All    bool   // an operator: sees the jobs of all tenants
}

type viewerKey struct{}

// In returns a context in which the store reads records for the viewer. It takes the same steps for a record that does not exist for the
// viewer as for one that never was, so the time of the answer does not say which it is.
func (v Viewer) In(ctx context.Context) context.Context {
	return context.WithValue(ctx, viewerKey{}, v)
}

// ViewerIn returns the viewer for whom records are read; who sees all, if it is for Kaa itself.
func ViewerIn(ctx context.Context) Viewer {
	if v, ok := ctx.Value(viewerKey{}).(Viewer); ok {
		return v
	}
	return Viewer{All: true}
}

// Sees reports whether a job exists for the viewer.
func (v Viewer) Sees(j Job) bool { return v.Knew(j.Owner, j.InSession) }

// Knew reports whether a job of an owner existed for the viewer. Executions of a session are as
// private as the session.
func (v Viewer) Knew(owner string, inSession bool) bool {
	return v.Owns(owner) || !inSession && TenantOf(v.Caller) == TenantOf(owner)
}

// SeesBatch reports whether a batch exists for the viewer, as its jobs do.
func (v Viewer) SeesBatch(b Batch) bool { return v.Knew(b.Owner, false) }

// Owns reports whether private data of an owner exist for the viewer.
func (v Viewer) Owns(owner string) bool { return v.All || v.Caller == owner }

// PrivateGoneError is an ErrGone of a job that only some may know of: those of its owner's tenant,
// or, if it is Private, its owner.
type PrivateGoneError struct {
	Owner   string
	Private bool
}

func (*PrivateGoneError) Error() string { return ErrGone.Error() }

// Is makes it an ErrGone.
func (*PrivateGoneError) Is(target error) bool { return target == ErrGone }
