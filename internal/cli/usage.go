package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// UsageOptions choose figures of usage. Empty ones are the defaults of the API.
type UsageOptions struct {
	From, To, Tenant string
	JSON             bool
}

// ShowUsage prints what was used at the Kaa at KAA_URL, by day and tenant.
func ShowUsage(ctx context.Context, p app.Process, o UsageOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var present *client.PresentUse
	days, err := pages(ctx, 0, func(ctx context.Context, cursor string) ([]client.UsageDay, string, error) {
		page, err := c.GetUsage(ctx, client.GetUsageParams{From: o.From, To: o.To, Tenant: o.Tenant, Cursor: cursor})
		if page.Present != nil {
			present = page.Present
		}
		return page.Days, page.NextCursor, err
	})
	if err != nil {
		return err
	}
	out := p.Stdout
	if o.JSON && !inJSON(out) {
		out = JSON{out}
	}
	err = list(out, "DAY TENANT EXECUTIONS RUN_s CPU_s MEMORY_GiB_s IN OUT SESSIONS SESSION_s", days, func(d client.UsageDay) []string {
		seconds := func(s float64) string { return fmt.Sprintf("%.1f", s) }
		return []string{
			d.Day, cmp.Or(d.Tenant, d.Key, "-"), number(d.Executions), seconds(d.RunSeconds), seconds(d.CpuSeconds), seconds(d.MemoryGiBSeconds),
			inBytes(d.BytesIn), inBytes(d.BytesOut), number(d.Sessions), seconds(d.SessionSeconds),
		}
	})
	if err != nil || present == nil || inJSON(out) {
		return err
	}
	return presentTable(out, *present)
}

func presentTable(w io.Writer, p client.PresentUse) error {
	if err := printed(w, ""); err != nil {
		return err
	}
	t := table{}
	t.add("BOUND", "USED", "ALLOWED")
	for _, b := range []struct {
		name string
		use  client.InUse
		text func(int64) string
	}{
		{"stored bytes", p.StoredBytes, inBytes},
		{"stored bytes of files", p.StoredFileBytes, inBytes},
		{"waiting jobs", p.WaitingJobs, number},
		{"sessions", p.Sessions, number},
		{"memory of sessions", p.SessionMemoryBytes, inBytes},
		{"disk of sessions", p.SessionDiskBytes, inBytes},
	} {
		allowed := "-"
		if b.use.Allowed != nil {
			allowed = b.text(*b.use.Allowed)
		}
		t.add(b.name, b.text(b.use.Used), allowed)
	}
	return t.print(w)
}
