package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// usageDays is the number of days that are shown unless the request names the first.
const usageDays = 30

// UsageDay is what the executions and sessions of a tenant took on a day.
type UsageDay struct {
	Day    string `json:"day" format:"date" doc:"Day in UTC." example:"2026-01-31"`
	Tenant string `json:"tenant,omitempty" doc:"Absent for the keys of KAA_API_KEYS and KAA_ADMIN_KEYS, and without keys."`
	Key    string `json:"key,omitempty" doc:"Id of the key, where there is no tenant."`

	Executions       int64   `json:"executions" doc:"Executions that have ended, those in sessions included, however they ended. One that was repeated because its runner was lost counts once, and one that never began does not."`
	RunSeconds       float64 `json:"runSeconds" doc:"Time for which they ran."`
	CPUSeconds       float64 `json:"cpuSeconds" doc:"Processor time of their code."`
	MemoryGiBSeconds float64 `json:"memoryGiBSeconds" doc:"The most memory that each held, in GiB, times the time for which it ran."`
	BytesIn          int64   `json:"bytesIn" doc:"Bytes of requests as they are kept, with code, input and files."`
	BytesOut         int64   `json:"bytesOut" doc:"Bytes of results as they are kept, and of files that code left."`
	Sessions         int64   `json:"sessions" doc:"Sessions that have ended."`
	SessionSeconds   float64 `json:"sessionSeconds" doc:"Time for which these lived, on each of their days."`
}

// InUse is the use of a bound.
type InUse struct {
	Used    int64  `json:"used" doc:"The amount in use."`
	Allowed *int64 `json:"allowed,omitempty" doc:"The amount that you may use. A share depends on the use by others. Absent without a bound."`
}

// PresentUse is the use of each bound of a tenant.
type PresentUse struct {
	StoredBytes     InUse `json:"storedBytes" doc:"Bytes of jobs, results, batches, sessions and schedules."`
	StoredFileBytes InUse `json:"storedFileBytes" doc:"Bytes of files, as they are counted for their bound."`
	WaitingJobs     InUse `json:"waitingJobs" doc:"Jobs that wait, on all queues."`
	Sessions        InUse `json:"sessions" doc:"Live sessions. The room of the runners is another bound."`
	SessionMemory   InUse `json:"sessionMemoryBytes" doc:"Bytes of memory that the live sessions may take, by their limits."`
	SessionDisk     InUse `json:"sessionDiskBytes" doc:"Bytes of disk that the live sessions may take, by their limits."`
}

type usageInput struct {
	From   string `query:"from" maxLength:"10" doc:"First day, in UTC. Default: 29 days before the last." example:"2026-01-01"`
	To     string `query:"to" maxLength:"10" doc:"Last day, in UTC. Default: today." example:"2026-01-31"`
	Tenant string `query:"tenant" maxLength:"64" doc:"Only this tenant. Another one than that of the key needs the scope admin."`
	Cursor string `query:"cursor" maxLength:"128" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"400" doc:"Days of tenants per page."`
}

type usageOutput struct {
	Body struct {
		From       string      `json:"from" format:"date" doc:"The first day."`
		To         string      `json:"to" format:"date" doc:"The last day."`
		Present    *PresentUse `json:"present,omitempty" doc:"The present use of each bound. On the first page; absent for an operator's key without tenant."`
		Days       []UsageDay  `json:"days" nullable:"false" doc:"Oldest first, for each tenant with figures of that day."`
		NextCursor string      `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

func (s *server) registerUsage() {
	register(s, huma.Operation{
		OperationID: "getUsage", Method: http.MethodGet, Path: "/v1/usage", Tags: []string{"Operations"}, Summary: "Executions, processor time, memory and bytes by day and tenant",
		Description: "Figures of your tenant; with the scope admin of all tenants. An execution counts at its end, a session at its end on each day on which it lived.",
		Errors:      []int{400, 401, 429, 503},
	}, s.usage)
}

func (s *server) usage(ctx context.Context, in *usageInput) (*usageOutput, error) {
	r := service.UsageRequest{Tenant: in.Tenant, Cursor: in.Cursor, Limit: in.Limit, To: time.Now().UTC().Truncate(24 * time.Hour)}
	var issues []FieldIssue
	date := func(name, text string, to *time.Time) {
		at, err := time.Parse(time.DateOnly, text)
		if text == "" {
			return
		}
		if *to = at; err != nil {
			issues = append(issues, FieldIssue{"query." + name, "must be a date, e.g. 2026-01-31"})
		}
	}
	date("to", in.To, &r.To)
	r.From = r.To.AddDate(0, 0, 1-usageDays)
	date("from", in.From, &r.From)
	switch {
	case len(issues) > 0:
	case r.From.After(r.To):
		issues = append(issues, FieldIssue{"query.from", "must not be after to"})
	case !r.To.Before(r.From.AddDate(0, 0, service.MaxUsageDays)):
		issues = append(issues, FieldIssue{"query.from", fmt.Sprintf("must not be more than %d days before the day after to", service.MaxUsageDays)})
	}
	if len(issues) > 0 {
		return nil, badRequest(describe("", issues), issues...)
	}
	days, next, err := s.cfg.Service.Usage(ctx, service.CallerOf(ctx), r)
	if errors.Is(err, job.ErrCursor) {
		issue := FieldIssue{"query.cursor", "must be the nextCursor of the page before"}
		return nil, badRequest(describe("", []FieldIssue{issue}), issue)
	}
	if err != nil {
		return nil, err
	}
	out := new(usageOutput)
	out.Body.From, out.Body.To, out.Body.NextCursor = r.From.Format(time.DateOnly), r.To.Format(time.DateOnly), next
	out.Body.Days = make([]UsageDay, len(days))
	for i, d := range days {
		out.Body.Days[i] = usageDay(d)
	}
	if in.Cursor != "" {
		return out, nil
	}
	present, err := s.cfg.Service.PresentUse(ctx, service.CallerOf(ctx), in.Tenant)
	if err != nil {
		return nil, err
	}
	if present != nil {
		out.Body.Present = presentUse(*present)
	}
	return out, nil
}

func presentUse(p job.PresentUse) *PresentUse {
	inUse := func(u job.InUse) InUse {
		if u.Allowed < 0 {
			return InUse{Used: u.Used}
		}
		return InUse{Used: u.Used, Allowed: &u.Allowed}
	}
	return &PresentUse{StoredBytes: inUse(p.Bytes), StoredFileBytes: inUse(p.Files), WaitingJobs: inUse(p.Waiting), Sessions: inUse(p.Sessions), SessionMemory: inUse(p.Memory), SessionDisk: inUse(p.Disk)}
}

func usageDay(u job.Usage) UsageDay {
	d := UsageDay{
		Day: u.Day.Format(time.DateOnly), Tenant: job.TenantOf(u.Owner),
		Executions: u.Executions, RunSeconds: u.Run.Seconds(), CPUSeconds: u.CPU.Seconds(), MemoryGiBSeconds: u.MemoryGiBSeconds(),
		BytesIn: u.BytesIn, BytesOut: u.BytesOut, Sessions: u.Sessions, SessionSeconds: u.SessionTime.Seconds(),
	}
	if d.Tenant == "" {
		d.Key = u.Owner
	}
	return d
}
