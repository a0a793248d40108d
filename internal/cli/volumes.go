package cli

import (
	"cmp"
	"context"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// ListVolumes prints the volumes.
func ListVolumes(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := pages(ctx, 0, func(ctx context.Context, cursor string) ([]client.VolumeView, string, error) {
		page, err := c.ListVolumes(ctx, client.ListVolumesParams{Limit: new(int64(500)), Cursor: cursor})
		return page.Volumes, page.NextCursor, err
	})
	if err != nil {
		return err
	}
	return list(p.Stdout, "VOLUME ENTRIES BYTES SAVED EXPIRES SESSION ERROR", all, func(v client.VolumeView) []string {
		return []string{v.Name, number(v.Entries), number(v.Bytes), momentOr(v.SavedAt), momentOr(v.ExpiresAt), cmp.Or(v.SessionID, "-"), cmp.Or(v.Error, "-")}
	})
}

// DeleteVolume deletes a volume with its files.
func DeleteVolume(ctx context.Context, p app.Process, name string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if err := c.DeleteVolume(ctx, name); err != nil {
		return err
	}
	return show(p.Stdout, map[string]string{"deleted": name}, name+" is deleted")
}
