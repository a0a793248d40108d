package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/kaa-run/kaa/internal/app"
)

// UsageOptions choose figures of usage. Empty ones are the defaults of the API.
type UsageOptions struct {
	From, To, Tenant string
	JSON             bool
}

// usageDay is a day of a tenant in the answers of the API.
type usageDay struct {
	Day              string  `json:"day"`
	Tenant           string  `json:"tenant,omitempty"`
	Key              string  `json:"key,omitempty"`
	Executions       int64   `json:"executions"`
	RunSeconds       float64 `json:"runSeconds"`
	CPUSeconds       float64 `json:"cpuSeconds"`
	MemoryGiBSeconds float64 `json:"memoryGiBSeconds"`
	BytesIn          int64   `json:"bytesIn"`
	BytesOut         int64   `json:"bytesOut"`
	Sessions         int64   `json:"sessions"`
	SessionSeconds   float64 `json:"sessionSeconds"`
}

// inUse is the use of a bound in the answers of the API.
type inUse struct {
	Used    int64
	Allowed *int64
}

// presentUse is the present use of the bounds of a tenant.
type presentUse struct {
	StoredBytes, StoredFileBytes, WaitingJobs, Sessions, SessionMemoryBytes, SessionDiskBytes inUse
}

// ShowUsage prints what was used at the Kaa at KAA_URL, by day and tenant.
func ShowUsage(ctx context.Context, p app.Process, o UsageOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"from": o.From, "to": o.To, "tenant": o.Tenant} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var days []usageDay
	var present *presentUse
	for {
		var page struct {
			Present    *presentUse
			Days       []usageDay
			NextCursor string
		}
		if err := c.json(ctx, http.MethodGet, "/v1/usage?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		days = append(days, page.Days...)
		if page.Present != nil {
			present = page.Present
		}
		if page.NextCursor == "" {
			break
		}
		query.Set("cursor", page.NextCursor)
	}
	if o.JSON {
		lines := json.NewEncoder(p.Stdout)
		for _, d := range days {
			if err := lines.Encode(d); err != nil {
				return fmt.Errorf("print usage: %w", err)
			}
		}
		return nil
	}
	if err := usageTable(p.Stdout, days); err != nil || present == nil {
		return err
	}
	return presentTable(p.Stdout, *present)
}

func presentTable(w io.Writer, p presentUse) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nBOUND\tUSED\tALLOWED")
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, b := range []struct {
		name string
		use  inUse
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
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", b.name, b.text(b.use.Used), allowed)
	}
	return table.Flush() //nolint:wrapcheck // of the output
}

func usageTable(w io.Writer, days []usageDay) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "DAY\tTENANT\tEXECUTIONS\tRUN s\tCPU s\tMEMORY GiB s\tIN\tOUT\tSESSIONS\tSESSION s")
	for _, d := range days {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t%.1f\t%.1f\t%s\t%s\t%d\t%.1f\n", d.Day, cmp.Or(d.Tenant, d.Key, "-"), d.Executions,
			d.RunSeconds, d.CPUSeconds, d.MemoryGiBSeconds, inBytes(d.BytesIn), inBytes(d.BytesOut), d.Sessions, d.SessionSeconds)
	}
	return table.Flush()
}

// inBytes writes a number of bytes for people.
func inBytes(n int64) string {
	size, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for size >= 1024 && len(units) > 1 {
		size, units = size/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[0])
}
