package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/kaa-run/kaa/internal/app"
)

// volume is a volume in the answers of the API.
type volume struct {
	Name, SessionID, Error string
	Bytes                  int64
	Entries                int
	SavedAt, ExpiresAt     *time.Time
}

// ListVolumes prints the volumes.
func ListVolumes(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "VOLUME\tENTRIES\tBYTES\tSAVED\tEXPIRES\tSESSION\tERROR")
	for cursor := ""; ; {
		var list struct {
			Volumes    []volume
			NextCursor string
		}
		if err := c.json(ctx, http.MethodGet, "/v1/volumes?limit=500&cursor="+url.QueryEscape(cursor), nil, &list); err != nil {
			return err
		}
		for _, v := range list.Volumes {
			_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", v.Name, v.Entries, v.Bytes, momentOr(v.SavedAt), momentOr(v.ExpiresAt), cmp.Or(v.SessionID, "-"), cmp.Or(v.Error, "-"))
		}
		if cursor = list.NextCursor; cursor == "" {
			return table.Flush()
		}
	}
}

// momentOr is moment, and a dash for none.
func momentOr(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return moment(t)
}

// DeleteVolume deletes a volume with its files.
func DeleteVolume(ctx context.Context, p app.Process, name string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if err := c.json(ctx, http.MethodDelete, "/v1/volumes/"+url.PathEscape(name), nil, nil); err != nil {
		return err
	}
	return printed(p.Stdout, name+" is deleted")
}
