package opensandbox

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// lifecycle adds the routes of sandboxes.
func (d *Dialect) lifecycle() {
	d.handle("POST /v1/sandboxes", "createSandbox", d.create)
	d.handle("GET /v1/sandboxes", "listSandboxes", d.list)
	d.handle("GET /v1/sandboxes/{id}", "getSandbox", d.get)
	d.handle("DELETE /v1/sandboxes/{id}", "deleteSandbox", d.kill)
	d.handle("POST /v1/sandboxes/{id}/pause", "pauseSandbox", d.pause)
	d.handle("POST /v1/sandboxes/{id}/resume", "resumeSandbox", d.resume)
	d.handle("POST /v1/sandboxes/{id}/renew-expiration", "renewSandbox", d.renew)
	d.handle("PATCH /v1/sandboxes/{id}/metadata", "patchSandboxMetadata", d.patchMetadata)
	d.handle("GET /v1/sandboxes/{id}/endpoints/{port}", "getSandboxEndpoint", d.endpoint)
	d.handle("GET /health", "health", func(w http.ResponseWriter, _ *http.Request) error {
		dialect.WriteJSON(w, http.StatusOK, map[string]string{"status": "healthy"})
		return nil
	})
}

type status struct {
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

type image struct {
	URI string `json:"uri"`
}

// view is what the SDKs learn of a sandbox.
type view struct {
	ID         string            `json:"id"`
	Image      *image            `json:"image,omitempty"`
	Status     status            `json:"status"`
	Metadata   map[string]string `json:"metadata"`
	Entrypoint []string          `json:"entrypoint"`
	CreatedAt  time.Time         `json:"createdAt"`
	ExpiresAt  *time.Time        `json:"expiresAt,omitempty"` // absent without a timeout
}

func viewOf(se job.Session) view {
	theirs, of := metadataOf(se)
	v := view{ID: se.ID, Status: status{State: stateOf(se)}, Metadata: theirs, Entrypoint: of.Entrypoint, CreatedAt: se.CreatedAt.UTC()}
	if of.Image != "" {
		v.Image = &image{of.Image}
	}
	if v.Entrypoint == nil {
		v.Entrypoint = []string{}
	}
	if !se.EndsAt.IsZero() {
		v.ExpiresAt = new(se.EndsAt.UTC())
	}
	return v
}

func stateOf(se job.Session) string {
	switch se.State {
	case job.SessionPaused:
		return "Paused"
	case job.SessionEnded:
		return "Terminated"
	case job.SessionIdle, job.SessionBusy:
	}
	return "Running"
}

type createBody struct {
	Image      *image            `json:"image"`
	SnapshotID string            `json:"snapshotId"`
	TemplateID string            `json:"templateId"`
	Entrypoint []string          `json:"entrypoint"`
	Timeout    *float64          `json:"timeout"` // seconds; null is none
	Env        map[string]string `json:"env"`
	Metadata   map[string]string `json:"metadata"`
	Resources  map[string]string `json:"resourceLimits"`
	Volumes    []any             `json:"volumes"`
}

// workdir is the working directory of sandboxes, where a runner can have one of that name.
const workdir = "/workspace"

func (d *Dialect) create(w http.ResponseWriter, r *http.Request) error {
	var body createBody
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	switch {
	case body.SnapshotID != "":
		return dialect.NewFault(http.StatusNotFound, "snapshot_not_found", "snapshot %s not found: Kaa's OpenSandbox dialect has none", clipped(body.SnapshotID))
	case body.TemplateID != "":
		return dialect.NewFault(http.StatusNotFound, "template_not_found", "template %s not found: Kaa's OpenSandbox dialect has none", clipped(body.TemplateID))
	case len(body.Volumes) > 0:
		return invalid("volumes are not supported by Kaa's OpenSandbox dialect; leave them out")
	case body.Timeout != nil && !(*body.Timeout > 0):
		return invalid("timeout must be a number of seconds above 0, or null")
	}
	memory, err := quantity(body.Resources["memory"])
	if err != nil {
		return err
	}
	ctx, caller := r.Context(), service.CallerOf(r.Context())
	longest := d.service.Limits().Sessions
	of := details{Entrypoint: body.Entrypoint}
	if body.Image != nil {
		of.Image = body.Image.URI
	}
	request := job.SessionRequest{
		Envs: body.Env, IdleTimeout: new(longest.MaxIdleTimeout.Seconds()), MaxAge: new(longest.MaxAge.Seconds()), Workdir: workdir,
		Limits: dialect.Memory(ctx, d.service, memory), Metadata: encoded(body.Metadata, of),
	}
	se, err := d.service.OpenSession(ctx, caller, request)
	if wrong, ok := errors.AsType[*job.ValidationError](err); ok && len(wrong.Fields) == 1 && wrong.Fields[0].Field == "workdir" {
		request.Workdir = "" // no runner is strict
		se, err = d.service.OpenSession(ctx, caller, request)
	}
	if err != nil {
		return err
	}
	if body.Timeout != nil {
		id := se.ID
		if se, err = d.service.ChangeSession(ctx, caller, id, job.SessionChangeRequest{EndsIn: body.Timeout}); err != nil {
			_, _ = d.service.CloseSession(ctx, caller, id)
			return err
		}
	}
	dialect.WriteJSON(w, http.StatusAccepted, viewOf(se))
	return nil
}

// quantity reads a number of bytes as Kubernetes writes it, such as 512Mi; 0 for none.
func quantity(text string) (float64, error) {
	units := map[string]float64{
		"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
	}
	if text == "" {
		return 0, nil
	}
	digits := strings.TrimRight(text, "kKMGTi")
	n, err := strconv.ParseFloat(digits, 64)
	unit, known := units[text[len(digits):]]
	if err != nil || !known || !(n > 0) || math.IsInf(n, 0) {
		return 0, invalid("resourceLimits.memory must be a quantity such as 512Mi or 2Gi")
	}
	return n * unit, nil
}

func (d *Dialect) get(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandbox(r)
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, viewOf(se))
	}
	return err
}

func (d *Dialect) kill(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandbox(r)
	if err == nil {
		_, err = d.service.CloseSession(r.Context(), service.CallerOf(r.Context()), se.ID)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (d *Dialect) pause(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandbox(r)
	if err == nil && se.State != job.SessionPaused {
		_, err = d.service.PauseSession(r.Context(), service.CallerOf(r.Context()), se.ID, nil, false)
	}
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return err
}

func (d *Dialect) resume(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandbox(r)
	if err == nil {
		_, err = d.service.ResumeSession(r.Context(), service.CallerOf(r.Context()), se.ID)
	}
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return err
}

func (d *Dialect) renew(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		ExpiresAt *time.Time `json:"expiresAt"`
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if body.ExpiresAt == nil || !body.ExpiresAt.After(time.Now()) {
		return invalid("expiresAt must be a time that is to come, in RFC 3339")
	}
	se, err := d.sandbox(r)
	if err != nil {
		return err
	}
	age := d.service.Limits().Sessions.MaxAge.Seconds()
	se, err = d.service.ChangeSession(r.Context(), service.CallerOf(r.Context()), se.ID, job.SessionChangeRequest{EndsAt: body.ExpiresAt, MaxAge: &age})
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, map[string]time.Time{"expiresAt": se.EndsAt.UTC()})
	}
	return err
}

func (d *Dialect) patchMetadata(w http.ResponseWriter, r *http.Request) error {
	var patch map[string]*string
	if err := dialect.ReadJSON(r, &patch); err != nil {
		return err
	}
	se, err := d.sandbox(r)
	if err != nil {
		return err
	}
	theirs, of := metadataOf(se)
	for name, value := range patch {
		if value == nil {
			delete(theirs, name)
		} else {
			theirs[name] = *value
		}
	}
	se, err = d.service.ChangeSession(r.Context(), service.CallerOf(r.Context()), se.ID, job.SessionChangeRequest{Metadata: encoded(theirs, of)})
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, viewOf(se))
	}
	return err
}

// endpoint answers where a port of a sandbox is. Only the daemon's is reachable; the SDKs ask for that of egress, too,
// and use it only to change rules.
func (d *Dialect) endpoint(w http.ResponseWriter, r *http.Request) error {
	port, err := strconv.Atoi(r.PathValue("port"))
	if err != nil || port != execdPort && port != egressPort {
		return dialect.NewFault(http.StatusNotFound, "not_supported", "Kaa's OpenSandbox dialect reaches no ports of a sandbox but %d", execdPort)
	}
	se, err := d.sandbox(r)
	if err != nil {
		return err
	}
	_, address, _ := strings.Cut(dialect.BaseURL(r), "://")
	dialect.WriteJSON(w, http.StatusOK, map[string]any{
		"endpoint": address + proxyPath + se.ID + "/" + strconv.Itoa(port),
		"headers":  map[string]string{accessHeader: service.CallerOf(r.Context()).Ticket(accessTo(se.ID))},
	})
	return nil
}

// Bounds of listings.
const (
	usualPage  = 20
	largest    = 200
	mostListed = 2000
)

type pagination struct {
	Page       int64 `json:"page"`
	PageSize   int64 `json:"pageSize"`
	TotalItems int64 `json:"totalItems"`
	TotalPages int64 `json:"totalPages"`
	HasNext    bool  `json:"hasNextPage"`
}

func (d *Dialect) list(w http.ResponseWriter, r *http.Request) error {
	page, err := number(r, "page", 1, 1)
	if err != nil {
		return err
	}
	size, err := number(r, "pageSize", 1, usualPage)
	if err != nil {
		return err
	}
	size = min(size, largest)
	matches, err := matchesOf(r.URL.Query().Get("metadata"))
	if err != nil {
		return err
	}
	states := r.URL.Query()["state"]
	var all []view
	filter := job.SessionFilter{Metadata: matches, Limit: largest}
	for len(all) < mostListed {
		sessions, next, err := d.service.Sessions(r.Context(), service.CallerOf(r.Context()), filter)
		if err != nil {
			return err
		}
		for _, se := range sessions {
			if len(states) == 0 || slices.Contains(states, stateOf(se)) {
				all = append(all, viewOf(se))
			}
		}
		if filter.Cursor = next; next == "" {
			break
		}
	}
	total := int64(len(all))
	from := min((page-1)*size, total)
	to := min(from+size, total)
	items := append([]view{}, all[from:to]...)
	dialect.WriteJSON(w, http.StatusOK, map[string]any{
		"items": items, "pagination": pagination{page, size, total, (total + size - 1) / size, to < total},
	})
	return nil
}

// matchesOf reads the filter of a listing, which is a query in a parameter of the query.
func matchesOf(text string) ([]job.MetadataMatch, error) {
	pairs, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalid("query parameter metadata must be name=value&name=value, encoded")
	}
	var all []job.MetadataMatch
	for name, values := range pairs {
		all = append(all, job.MetadataMatch{Name: name, Value: values[0]})
	}
	return all, nil
}
