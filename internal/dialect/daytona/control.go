package daytona

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// usualAutoStop is the autoStopInterval of a sandbox for which none is asked, in minutes.
const usualAutoStop = 15

func (d *Dialect) controlRoutes() {
	d.handle("POST /api/sandbox", "createSandbox", d.create)
	d.handle("GET /api/sandbox", "listSandboxes", d.list)
	d.handle("GET /api/sandbox/{id}", "getSandbox", d.get)
	d.handle("DELETE /api/sandbox/{id}", "deleteSandbox", d.delete)
	for verb, change := range map[string]func(context.Context, job.Session) (job.Session, error){
		"start": d.start, "recover": d.start, "pause": d.pause,
		"stop":    func(ctx context.Context, se job.Session) (job.Session, error) { return d.stop(ctx, se, stateStopped) },
		"archive": func(ctx context.Context, se job.Session) (job.Session, error) { return d.stop(ctx, se, stateArchived) },
	} {
		d.handle("POST /api/sandbox/{id}/"+verb, verb+"Sandbox", d.changed(change))
	}
	for name, set := range map[string]func(*settings, int64){
		"autostop":    func(s *settings, n int64) { s.AutoStop = n },
		"autoarchive": func(s *settings, n int64) { s.AutoArchive = n },
		"autodelete":  func(s *settings, n int64) { s.AutoDelete = n },
		"autopause":   func(s *settings, n int64) { s.AutoPause = n },
	} {
		d.handle("POST /api/sandbox/{id}/"+name+"/{minutes}", "setSandbox", d.setInterval(set))
	}
	d.handle("POST /api/sandbox/{id}/ttl/{minutes}", "setSandbox", d.setTTL)
	d.handle("PUT /api/sandbox/{id}/labels", "setSandboxLabels", d.setLabels)
	d.handle("POST /api/sandbox/{id}/public/{public}", "setSandbox", d.setPublic)
	d.handle("POST /api/sandbox/{id}/last-activity", "touchSandbox", d.touch)
	d.handle("POST /api/sandbox/{id}/network-settings", "setSandbox", d.setNetwork)
	d.handle("GET /api/sandbox/{id}/signing-key", "getSigningKey", d.signingKeyOf)
	d.handle("POST /api/sandbox/{id}/signing-key/rotate", "setSandbox", d.rotateSigningKey)
	d.handle("GET /api/sandbox/{id}/telemetry/metrics", "getSandboxMetrics", d.noMetrics)
	d.handle("POST /api/sandbox/{id}/fork", "forkSandbox", d.noCopy)
	d.handle("POST /api/sandbox/{id}/snapshot", "forkSandbox", d.noCopy)
	d.handle("GET /api/sandbox/{id}/toolbox-proxy-url", "getToolboxURL", d.toolboxURLOf)
}

// creation is the body of the creation of a sandbox.
type creation struct {
	Name            string            `json:"name"`
	Snapshot        string            `json:"snapshot"`
	Env             map[string]string `json:"env"`
	Labels          map[string]string `json:"labels"`
	Target          string            `json:"target"`
	Public          bool              `json:"public"`
	NetworkBlockAll bool              `json:"networkBlockAll"`
	CPU             int64             `json:"cpu"`
	GPU             int64             `json:"gpu"`
	Memory          int64             `json:"memory"`
	Disk            int64             `json:"disk"`
	AutoStop        *int64            `json:"autoStopInterval"`
	AutoArchive     *int64            `json:"autoArchiveInterval"`
	AutoDelete      *int64            `json:"autoDeleteInterval"`
	AutoPause       int64             `json:"autoPauseInterval"`
	TTL             int64             `json:"ttlMinutes"`
	AllowList       string            `json:"networkAllowList"`
	Domains         string            `json:"domainAllowList"`
	KVM             bool              `json:"kvm"`
	Volumes         []mount           `json:"volumes"`
	Secrets         []any             `json:"secrets"`
	BuildInfo       any               `json:"buildInfo"`
}

func (d *Dialect) create(w http.ResponseWriter, r *http.Request) error {
	var c creation
	if err := decode(r, &c); err != nil {
		return err
	}
	request, err := d.requestOf(r.Context(), c)
	if err != nil {
		return err
	}
	se, err := d.open(r.Context(), c.Name, request)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, d.view(r, se))
}

// requestOf is the request for the session of a new sandbox.
func (d *Dialect) requestOf(ctx context.Context, c creation) (job.SessionRequest, error) {
	s := settings{
		Env: c.Env, Labels: c.Labels, Snapshot: c.Snapshot, Public: c.Public, BlockAll: c.NetworkBlockAll, Target: c.Target,
		CPU: c.CPU, Memory: c.Memory, Disk: c.Disk, AutoStop: usualAutoStop, AutoArchive: 7 * 24 * 60, AutoDelete: -1,
		AutoPause: c.AutoPause, AllowList: c.AllowList, Domains: c.Domains, Volumes: c.Volumes,
	}
	for _, from := range []struct {
		value *int64
		to    *int64
	}{{c.AutoStop, &s.AutoStop}, {c.AutoArchive, &s.AutoArchive}, {c.AutoDelete, &s.AutoDelete}} {
		if from.value != nil {
			*from.to = *from.value
		}
	}
	r := job.SessionRequest{Envs: c.Env, Workdir: home, Metadata: s.metadata(), Limits: job.QuotaRequest{}}
	switch {
	case c.Name != "" && !sandboxName.MatchString(c.Name):
		return r, badRequest("name: must have 1 to 128 characters: a letter or digit, then letters, digits and any of . _ : @ ~ -")
	case c.BuildInfo != nil:
		return r, badRequest("Kaa builds no images; leave image out, or choose one of the snapshots that GET /snapshots lists")
	case c.GPU > 0:
		return r, badRequest("gpu: Kaa has no GPUs; leave it out")
	case len(c.Secrets) > 0:
		return r, badRequest("secrets: Kaa keeps no secrets; send them as env")
	case c.KVM:
		return r, badRequest("kvm: Kaa has no virtual machines; leave it out")
	case s.AutoStop < 0:
		return r, badRequest("autoStopInterval: must be 0 or more")
	case c.TTL < 0 || c.TTL > mostMinutes:
		return r, badRequest("ttlMinutes: must be from 0 to %d", mostMinutes)
	case c.TTL > 0:
		r.EndsIn = new((time.Duration(c.TTL) * time.Minute).Seconds())
	}
	for name, asked := range map[string]float64{"cpus": float64(c.CPU), "memoryBytes": float64(c.Memory) * gibibyte, "diskBytes": float64(c.Disk) * gibibyte} {
		if asked > 0 {
			r.Limits[name] = asked
		}
	}
	if err := mountIn(&r, c.Volumes); err != nil {
		return r, err
	}
	idle, age := d.lifeOf(s)
	r.IdleTimeout, r.MaxAge = &idle, &age
	var err error
	r.Runtime, err = d.runtimeOf(ctx, c.Snapshot)
	return r, err
}

// lifeOf is for how many seconds a session without use lives, and at most. A sandbox that is stopped after a time keeps its files, and a
// session that ends does not: so a session lives for as long as Kaa allows, unless the sandbox is to be deleted when it stops.
func (d *Dialect) lifeOf(s settings) (idle, age float64) {
	bounds := d.service.Limits().Sessions
	idle, age = bounds.MaxIdleTimeout.Seconds(), bounds.MaxAge.Seconds()
	if s.AutoDelete == 0 && s.AutoStop > 0 {
		idle = min(idle, (time.Duration(s.AutoStop) * time.Minute).Seconds())
	}
	return idle, age
}

// open opens the session. Where no runner gives a session paths of its own, it has the usual ones.
func (d *Dialect) open(ctx context.Context, name string, request job.SessionRequest) (job.Session, error) {
	caller := service.CallerOf(ctx)
	for {
		var se job.Session
		var err error
		made := true
		if name == "" {
			se, err = d.service.OpenSession(ctx, caller, request)
		} else {
			se, made, err = d.service.EnsureSession(ctx, caller, name, request)
		}
		if invalid, ok := errors.AsType[*job.ValidationError](err); ok && request.Workdir != "" && len(invalid.Fields) == 1 && invalid.Fields[0].Field == "workdir" {
			request.Workdir = ""
			continue
		}
		if err == nil && !made {
			return se, dialect.NewFault(http.StatusConflict, "sandbox_exists", "a sandbox with the name %s exists already", clipped(name))
		}
		return se, err
	}
}

// on does something with the sandbox in the path of a request.
func (d *Dialect) on(r *http.Request, do func(ctx context.Context, se job.Session) (job.Session, error)) (job.Session, error) {
	se, err := d.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return se, err
	}
	return do(r.Context(), se)
}

// changed answers with a sandbox after a change.
func (d *Dialect) changed(change func(context.Context, job.Session) (job.Session, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		se, err := d.on(r, change)
		if err != nil {
			return err
		}
		return answerJSON(w, http.StatusOK, d.view(r, se))
	}
}

func (d *Dialect) get(w http.ResponseWriter, r *http.Request) error {
	return d.changed(func(_ context.Context, se job.Session) (job.Session, error) { return se, nil })(w, r)
}

func (d *Dialect) delete(w http.ResponseWriter, r *http.Request) error {
	return d.changed(func(ctx context.Context, se job.Session) (job.Session, error) {
		return d.service.CloseSession(ctx, service.CallerOf(ctx), se.ID)
	})(w, r)
}

// mostListed is how many sandboxes a page has at most.
const mostListed = 100

func (d *Dialect) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	fits, err := fitting(q)
	if err != nil {
		return err
	}
	f := job.SessionFilter{Cursor: q.Get("cursor"), Limit: mostListed, Metadata: []job.MetadataMatch{{Name: markMember, Value: "true"}}}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 {
		f.Limit = min(n, mostListed)
	}
	if f.Cursor != "" && !service.IsID(f.Cursor) {
		return badRequest("cursor: send the nextCursor of the page before")
	}
	labels, err := labelsOf(q.Get("labels"))
	if err != nil {
		return err
	}
	for name, value := range labels {
		f.Metadata = append(f.Metadata, job.MetadataMatch{Name: labelMember + name, Value: value})
	}
	all, next, err := d.service.Sessions(r.Context(), service.CallerOf(r.Context()), f)
	if err != nil {
		return err
	}
	items := []sandbox{}
	for _, se := range all {
		if box := d.view(r, se); fits(box) {
			items = append(items, box)
		}
	}
	ordered(items, q.Get("sort"), q.Get("order"))
	page := map[string]any{"items": items, "nextCursor": nil}
	if next != "" {
		page["nextCursor"] = next
	}
	return answerJSON(w, http.StatusOK, page)
}
