package api

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type listInput struct {
	State    job.State    `query:"state" enum:"scheduled,queued,running,completed,cancelled,failed" doc:"Only jobs in this state."`
	Queue    string       `query:"queue" maxLength:"64" doc:"Only jobs of this queue."`
	From     time.Time    `query:"createdFrom" doc:"Only jobs that came then or later (RFC 3339). A job of a batch came with the batch."`
	Before   time.Time    `query:"createdBefore" doc:"Only jobs that came before then."`
	Status   []job.Status `query:"status" enum:"ok,error,interrupted,exit" doc:"Only jobs whose code has ended in one of these ways."`
	Metadata []string     `query:"metadata,explode" doc:"Only jobs whose metadata has a member of this name with this value, as name=value: a string as its characters, any other value as its JSON. May be there several times." example:"[\"user=ada\"]"`
	Text     string       `query:"text" maxLength:"256" doc:"Only jobs with this text in a name or a value of their metadata. Small letters and capitals are the same."`
	Owner    string       `query:"owner" maxLength:"64" doc:"Only jobs of this tenant, or of a key of the configuration, as owner of a job names it. Needs the scope admin."`
	Cursor   string       `query:"cursor" maxLength:"64" doc:"nextCursor of the page before."`
	Limit    int          `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Jobs per page."`
}

type listOutput struct{ Body listBody }

// listBody has no name of its own, so that huma names it by its operation.
type listBody = struct {
	Jobs       []JobView `json:"jobs" nullable:"false" doc:"Newest first, without results."`
	NextCursor string    `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
}

func (s *server) listJobs(ctx context.Context, in *listInput) (*listOutput, error) {
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	caller := service.CallerOf(ctx)
	jobs, next, err := s.cfg.Service.Jobs(ctx, caller, filter)
	if err != nil {
		return nil, err
	}
	out := new(listOutput)
	out.Body.NextCursor = next
	out.Body.Jobs = make([]JobView, len(jobs))
	for i, j := range jobs {
		out.Body.Jobs[i] = viewFor(caller, j)
	}
	return out, nil
}

// filter is what the query of a list of jobs selects.
func (in *listInput) filter() (job.Filter, error) {
	f := job.Filter{State: in.State, Queue: in.Queue, From: in.From, Before: in.Before, Statuses: in.Status, Text: in.Text, Cursor: in.Cursor, Limit: in.Limit}
	refuse := func(field, msg string) (job.Filter, error) {
		return f, badRequest(field+": "+msg, FieldIssue{field, msg})
	}
	if in.Cursor != "" && !service.IsID(in.Cursor) {
		return refuse("query.cursor", "is not a cursor; send the nextCursor of the page before")
	}
	if in.Queue == job.OperationQueue {
		return refuse("query.queue", "is not a queue of jobs; what is done to sessions is in no listing")
	}
	var msg string
	if f.Metadata, msg = matchesOf(in.Metadata); msg != "" {
		return refuse("query.metadata", msg)
	}
	if in.Owner != "" && !ownerForm.MatchString(in.Owner) {
		return refuse("query.owner", "must be a tenant, or key: and 16 hexadecimal digits")
	}
	f.Owner = ownerNamed(in.Owner)
	return f, nil
}

// matchesOf reads conditions on metadata, name=value each. A message says what is wrong with them.
func matchesOf(texts []string) (all []job.MetadataMatch, wrong string) {
	if len(texts) > maxMatches {
		return nil, fmt.Sprintf("is there %d times, the limit is %d", len(texts), maxMatches)
	}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || len(text) > maxMatch {
			return nil, fmt.Sprintf("must be name=value of at most %d bytes, with %%26 for & and %%3D for = in a name", maxMatch)
		}
		all = append(all, job.MetadataMatch{Name: name, Value: value})
	}
	return all, ""
}

// ownerOfKey precedes the digits of a key of the configuration in the name of an owner. No tenant has a colon in its name.
const ownerOfKey = "key:"

var ownerForm = regexp.MustCompile(`^(key:[0-9a-f]{16}|[A-Za-z0-9._-]{1,64})$`)

// ownerNamed is the owner that callers know by a name, and ownerName its name.
func ownerNamed(name string) string {
	if key, ok := strings.CutPrefix(name, ownerOfKey); ok || name == "" {
		return key
	}
	return job.OwnerOfTenant(name)
}

func ownerName(owner string) string {
	if tenant := job.TenantOf(owner); tenant != "" || owner == "" {
		return tenant
	}
	return ownerOfKey + owner
}

// viewFor is viewOf with the fields that only operators see.
func viewFor(c service.Caller, j job.Job) JobView {
	v := viewOf(j)
	if c.All() {
		v.Owner = ownerName(j.Owner)
	}
	return v
}
