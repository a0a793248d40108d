package daytona

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// defaultSnapshot is the name of the snapshot that is the default runtime.
const defaultSnapshot = "kaa-python"

func (d *Dialect) catalogRoutes() {
	d.handle("GET /api/snapshots", "listSnapshots", d.listSnapshots)
	d.handle("GET /api/snapshots/{name}", "getSnapshot", d.getSnapshot)
	d.handle("GET /api/volumes", "listVolumes", d.listVolumes)
	d.handle("POST /api/volumes", "createVolume", d.createVolume)
	d.handle("GET /api/volumes/{id}", "getVolume", d.getVolume)
	d.handle("GET /api/volumes/by-name/{id}", "getVolume", d.getVolume)
	d.handle("DELETE /api/volumes/{id}", "deleteVolume", d.deleteVolume)
	d.handle("POST /api/snapshots/{name}/activate", "getSnapshot", d.getSnapshot) // all are
	d.handle("GET /api/config", "getConfig", func(w http.ResponseWriter, r *http.Request) error {
		return answerJSON(w, http.StatusOK, configuration(r))
	})
	for route, answer := range map[string]any{
		"/api/secret": []any{}, "/api/warm-pools": []any{}, "/api/secret/paginated": map[string]any{"items": []any{}, "total": 0, "nextCursor": nil},
	} {
		d.handle("GET "+route, "listNothing", func(w http.ResponseWriter, _ *http.Request) error { return answerJSON(w, http.StatusOK, answer) })
	}
}

// configuration is what the SDKs read before they ask for figures, with all members that they require.
func configuration(r *http.Request) map[string]any {
	base := dialect.BaseURL(r)
	return map[string]any{
		"version": "0.0.0", "proxyToolboxUrl": base + strings.TrimSuffix(toolbox, "/"), "proxyTemplateUrl": base, "dashboardUrl": base, "defaultSnapshot": defaultSnapshot,
		"oidc":                  map[string]string{"issuer": "", "clientId": "", "audience": "", "provider": ""},
		"linkedAccountsEnabled": false, "announcements": map[string]any{}, "maxAutoArchiveInterval": mostMinutes, "maintananceMode": false, "environment": "kaa",
	}
}

// snapshot is a runtime as the SDKs know it.
type snapshot struct {
	ID             string    `json:"id"`
	OrganizationID string    `json:"organizationId"`
	General        bool      `json:"general"`
	Name           string    `json:"name"`
	ImageName      string    `json:"imageName"`
	State          string    `json:"state"`
	Size           *float64  `json:"size"`
	Entrypoint     []string  `json:"entrypoint"`
	CPU            int64     `json:"cpu"`
	GPU            int64     `json:"gpu"`
	Memory         int64     `json:"mem"`
	Disk           int64     `json:"disk"`
	ErrorReason    *string   `json:"errorReason"`
	OfSandbox      *string   `json:"sourceSandboxId"`
	CreatedAt      time.Time `json:"createdAt"`
	UpdatedAt      time.Time `json:"updatedAt"`
	LastUsedAt     time.Time `json:"lastUsedAt"`
}

// snapshots are the runtimes, the default one first.
func (d *Dialect) snapshots(ctx context.Context) ([]snapshot, error) {
	runtimes, err := d.service.Runtimes(ctx, service.CallerOf(ctx))
	if err != nil {
		return nil, err
	}
	names := []string{defaultSnapshot}
	for _, rt := range runtimes {
		if !slices.Contains(names, rt.Name) {
			names = append(names, rt.Name)
		}
	}
	quota := d.service.Limits().DefaultQuota
	all := make([]snapshot, 0, len(names))
	for _, name := range names {
		all = append(all, snapshot{
			ID: name, OrganizationID: organization, General: true, Name: name, ImageName: name, State: "active", Entrypoint: []string{},
			CPU: firstOf(int64(quota.CPUs), 1), Memory: firstOf(quota.MemoryBytes/gibibyte, 1), Disk: firstOf(quota.DiskBytes/gibibyte, 1),
			CreatedAt: time.Unix(0, 0).UTC(), UpdatedAt: time.Unix(0, 0).UTC(), LastUsedAt: time.Unix(0, 0).UTC(),
		})
	}
	return all, nil
}

func (d *Dialect) listSnapshots(w http.ResponseWriter, r *http.Request) error {
	all, err := d.snapshots(r.Context())
	if err != nil {
		return err
	}
	page, limit := pageOf(r)
	first := min((page-1)*limit, len(all))
	return answerJSON(w, http.StatusOK, map[string]any{
		"items": all[first:min(first+limit, len(all))], "total": len(all), "page": page, "totalPages": (len(all) + limit - 1) / limit,
	})
}

// pageOf reads which page is asked for, from 1 on, and how long it is.
func pageOf(r *http.Request) (page, limit int) {
	page, limit = 1, mostListed
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n > 0 {
		page = min(n, 1<<20)
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && n > 0 {
		limit = min(n, mostListed)
	}
	return page, limit
}

func (d *Dialect) getSnapshot(w http.ResponseWriter, r *http.Request) error {
	all, err := d.snapshots(r.Context())
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Name == r.PathValue("name") {
			return answerJSON(w, http.StatusOK, s)
		}
	}
	return noSnapshot(http.StatusNotFound, r.PathValue("name"))
}

func noSnapshot(status int, name string) error {
	return dialect.NewFault(status, "snapshot_not_found", "snapshot %s not found; GET /snapshots lists those that there are", clipped(name))
}

// runtimeOf is the runtime that a snapshot is; empty for the default one.
func (d *Dialect) runtimeOf(ctx context.Context, name string) (string, error) {
	if name == "" || name == defaultSnapshot {
		return "", nil
	}
	runtimes, err := d.service.Runtimes(ctx, service.CallerOf(ctx))
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(runtimes, func(rt job.Runtime) bool { return rt.Name == name }) {
		return "", noSnapshot(http.StatusBadRequest, name)
	}
	return name, nil
}

// volume is a volume as the SDKs know it. Its id is its name.
type volume struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	OrganizationID string     `json:"organizationId"`
	State          string     `json:"state"`
	ErrorReason    *string    `json:"errorReason"`
	CreatedAt      time.Time  `json:"createdAt"`
	UpdatedAt      time.Time  `json:"updatedAt"`
	LastUsedAt     *time.Time `json:"lastUsedAt"`
}

func volumeView(v job.Volume) volume {
	view := volume{ID: v.Name, Name: v.Name, OrganizationID: organization, State: "ready", CreatedAt: v.CreatedAt.UTC(), UpdatedAt: v.CreatedAt.UTC()}
	if !v.SavedAt.IsZero() {
		view.UpdatedAt = v.SavedAt.UTC()
	}
	if v.Error != "" {
		view.ErrorReason = &v.Error
	}
	return view
}

func (d *Dialect) listVolumes(w http.ResponseWriter, r *http.Request) error {
	views, cursor := []volume{}, ""
	for {
		all, next, err := d.service.Volumes(r.Context(), service.CallerOf(r.Context()), cursor, mostListed)
		if err != nil {
			return err
		}
		for _, v := range all {
			views = append(views, volumeView(v))
		}
		if cursor = next; next == "" {
			return answerJSON(w, http.StatusOK, views)
		}
	}
}

// noVolume says that there is no volume of a name. The SDKs look for "not found" in it.
func noVolume(name string) error {
	return dialect.NewFault(http.StatusNotFound, "volume_not_found", "volume %s not found", clipped(name))
}

func (d *Dialect) volume(ctx context.Context, name string) (job.Volume, error) {
	if !sandboxName.MatchString(name) {
		return job.Volume{}, noVolume(name)
	}
	v, err := d.service.Volume(ctx, service.CallerOf(ctx), name)
	if errors.Is(err, job.ErrNoVolume) {
		err = noVolume(name)
	}
	return v, err
}

func (d *Dialect) getVolume(w http.ResponseWriter, r *http.Request) error {
	v, err := d.volume(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, volumeView(v))
}

// createVolume makes a volume: the first session with the name makes it, so one is opened and closed.
func (d *Dialect) createVolume(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name string `json:"name"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if !sandboxName.MatchString(body.Name) {
		return badRequest("name: must have 1 to 128 characters: a letter or digit, then letters, digits and any of . _ : @ ~ -")
	}
	ctx, caller := r.Context(), service.CallerOf(r.Context())
	if _, err := d.volume(ctx, body.Name); err == nil {
		return dialect.NewFault(http.StatusConflict, "volume_exists", "a volume with the name %s exists already", body.Name)
	}
	se, err := d.service.OpenSession(ctx, caller, job.SessionRequest{Persist: &body.Name})
	if err != nil {
		return err
	}
	if _, err = d.service.CloseSession(context.WithoutCancel(ctx), caller, se.ID); err != nil { // also if the client has gone
		return err
	}
	v, err := d.volume(ctx, body.Name)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, volumeView(v))
}

func (d *Dialect) deleteVolume(w http.ResponseWriter, r *http.Request) error {
	v, err := d.volume(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	used := (*job.VolumeInUseError)(nil)
	switch err := d.service.DeleteVolume(r.Context(), service.CallerOf(r.Context()), v.Name); {
	case errors.As(err, &used):
		return dialect.NewFault(http.StatusConflict, "volume_in_use", "%s", used.Error())
	case errors.Is(err, job.ErrNoVolume):
		return noVolume(v.Name)
	case err != nil:
		return err
	}
	return answerJSON(w, http.StatusOK, volumeView(v))
}

// mount is a volume that a sandbox is to have.
type mount struct {
	VolumeID  string `json:"volumeId"`
	MountPath string `json:"mountPath"`
	Subpath   string `json:"subpath,omitempty"`
}

// mountIn has a session keep its files in a volume. It can only have one, which is its whole work directory.
func mountIn(r *job.SessionRequest, mounts []mount) error {
	switch {
	case len(mounts) == 0:
		return nil
	case len(mounts) > 1, mounts[0].Subpath != "", mounts[0].MountPath != home:
		return badRequest("volumes: a sandbox can have one volume, mounted at %s, which then keeps all files of its work directory", home)
	}
	r.Persist = &mounts[0].VolumeID
	return nil
}
