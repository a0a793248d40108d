package job

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// ErrRequestGone means that the request of a job was not kept, or is there no more, so the job cannot run again.
var ErrRequestGone = errors.New("the request of the job was not kept")

// AcceptAgain checks a request that was accepted before against the present limits: those of the caller's key may be lower.
// All errors are reported at once, as a *ValidationError. The job has no id and no caller yet.
func (l Limits) AcceptAgain(n NewJob, now time.Time) (NewJob, error) {
	var v validation
	if !slices.Contains(l.Queues, n.Job.Queue) {
		v.add("queue", "was %s, which is not a queue any more; send the job with one of %s", quote(n.Job.Queue), strings.Join(l.Queues, ", "))
	}
	if n.Job.Timeout > l.MaxTimeout {
		v.add("timeout", "was %s seconds, and is at most %s now%s", plain(n.Job.Timeout), plain(l.MaxTimeout), l.ownCeiling(timeoutCeiling))
	}
	runtime, _ := SplitPackages(n.Spec.Runtime)
	n.Spec.Packages = l.packages(&v, n.Spec.Packages)
	n.Spec.Preload = l.preload(&v, n.Spec.Preload, n.Spec.Packages)
	n.Spec.Runtime = WithPreload(WithPackages(l.runtime(&v, runtime), n.Spec.Packages), n.Spec.Preload, l.Tenant)
	n.Job.Runtime = n.Spec.Runtime
	for _, row := range limitTable {
		switch {
		case row.IsZero(&l.MaxQuota):
		case row.Unlimited && row.IsZero(&n.Spec.Quota):
			row.Copy(&n.Spec.Quota, &l.DefaultQuota)
		case row.Less(&l.MaxQuota, &n.Spec.Quota):
			v.add(row.path(), "was %s, and is at most %s now%s", row.Number(&n.Spec.Quota), row.Number(&l.MaxQuota), l.ownCeiling(row.Name))
		}
	}
	n.Spec.Network = l.acceptNetworkAgain(&v, n.Spec.Network)
	if n.Spec.Cases != nil {
		n.Spec.Cases.acceptAgain(&v, l)
	}
	if len(v.fields) > 0 {
		return NewJob{}, &ValidationError{Fields: v.fields}
	}
	n.Job.MaxAttempts = min(n.Job.MaxAttempts, l.MaxAttempts)
	n.Job.ResultTTL = min(n.Job.ResultTTL, l.MaxResultTTL)
	n.Job.State, n.Job.CreatedAt, n.Job.QueuedAt = Queued, now, now
	return n, nil
}
