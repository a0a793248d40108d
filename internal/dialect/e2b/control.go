package e2b

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// home is the home and the working directory of every sandbox: callers have it in their code.
	home = "/home/user"
	// envdVersion is that of the envd whose behaviour this is. The SDKs leave out what older ones do not know.
	envdVersion = "0.6.4"
	clientID    = "kaa"
	// defaultTimeout is the life of a sandbox of which the SDK does not say how long it lives.
	defaultTimeout = 300.0
	// detailsName is the member of a session's metadata that has what is not the caller's. Other members of this kind begin with ownPrefix.
	detailsName = "kaa.e2b"
	ownPrefix   = detailsName + "."
)

// templates are the names of what a sandbox is made of; all of them are the same here.
func templates() []string {
	return []string{"", "base", "code-interpreter-v1", "code-interpreter"}
}

// details are what a session keeps for its sandbox.
type details struct {
	Template string `json:"template"`
	// Envs are the variables of a sandbox that was made of a snapshot. Those of others are the session's own.
	Envs map[string]string `json:"envs,omitempty"`
}

// control adds the routes of sandboxes.
func (d *Dialect) control() {
	d.handle("POST /sandboxes", "createSandbox", d.create)
	d.handle("POST /v2/sandboxes", "createSandbox", d.create)
	d.handle("GET /sandboxes", "listSandboxes", d.list)
	d.handle("GET /v2/sandboxes", "listSandboxes", d.list)
	d.handle("GET /sandboxes/{id}", "getSandbox", d.get)
	d.handle("DELETE /sandboxes/{id}", "killSandbox", d.kill)
	d.handle("POST /sandboxes/{id}/timeout", "setSandboxTimeout", d.setTimeout)
	d.handle("POST /sandboxes/{id}/refreshes", "refreshSandbox", d.refresh)
	d.handle("POST /sandboxes/{id}/connect", "connectSandbox", d.connect)
	d.handle("POST /v2/sandboxes/{id}/connect", "connectSandbox", d.connect)
	d.handle("POST /sandboxes/{id}/resume", "resumeSandbox", d.connect)
	d.handle("POST /sandboxes/{id}/pause", "pauseSandbox", d.pause)
	d.handle("POST /sandboxes/{id}/fork", "forkSandbox", d.fork)
	d.handle("GET /sandboxes/{id}/metrics", "getSandboxMetrics", d.metrics)
	d.handle("PUT /sandboxes/{id}/network", "setSandboxNetwork", d.network)
	d.handle("POST /sandboxes/{id}/snapshots", "makeSnapshot", d.snapshot)
	d.handle("GET /snapshots", "listSnapshots", d.listSnapshots)
	d.handle("DELETE /templates/{id}", "deleteSnapshot", d.deleteSnapshot)
}

// sandbox is what the SDKs learn of a sandbox with its tokens.
type sandbox struct {
	TemplateID  string `json:"templateID"`
	SandboxID   string `json:"sandboxID"`
	ClientID    string `json:"clientID"`
	EnvdVersion string `json:"envdVersion"`
	AccessToken string `json:"envdAccessToken"`
	// TrafficToken is what the SDKs send to the routes of contexts, which get no other token.
	TrafficToken string  `json:"trafficAccessToken"`
	Domain       *string `json:"domain"`
}

func (d *Dialect) sandboxOf(c service.Caller, se job.Session) sandbox {
	token := c.Ticket(accessTo(se.ID))
	d.tokens.note(se.ID, token)
	d.copies.note(se.ID, detailsOf(se).Envs)
	box := sandbox{
		TemplateID: detailsOf(se).Template, SandboxID: sandboxID(se.ID), ClientID: clientID, EnvdVersion: envdVersion,
		AccessToken: token, TrafficToken: token,
	}
	if d.portsDomain != "" {
		box.Domain = &d.portsDomain
	}
	return box
}

// detail is what the SDKs show of a sandbox.
type detail struct {
	TemplateID  string            `json:"templateID"`
	SandboxID   string            `json:"sandboxID"`
	ClientID    string            `json:"clientID"`
	StartedAt   time.Time         `json:"startedAt"`
	EndAt       time.Time         `json:"endAt"`
	State       string            `json:"state"`
	CPUCount    int64             `json:"cpuCount"`
	MemoryMB    int64             `json:"memoryMB"`
	DiskSizeMB  int64             `json:"diskSizeMB"`
	EnvdVersion string            `json:"envdVersion"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Lifecycle   lifecycle         `json:"lifecycle"`
	Volumes     []struct{}        `json:"volumeMounts"`
}

type lifecycle struct {
	AutoResume bool   `json:"autoResume"`
	OnTimeout  string `json:"onTimeout"`
}

func lifecycleOf(se job.Session) lifecycle {
	if se.AtEnd == nil {
		return lifecycle{OnTimeout: "kill"}
	}
	return lifecycle{AutoResume: se.AtEnd.AutoResume, OnTimeout: "pause"}
}

// States of sandboxes.
const (
	stateRunning = "running"
	statePaused  = "paused"
)

func stateOf(se job.Session) string {
	if se.State == job.SessionPaused {
		return statePaused
	}
	return stateRunning
}

const megabyte = 1 << 20

func (d *Dialect) detailOf(se job.Session) detail {
	quota := d.service.Limits().DefaultQuota
	end := se.EndsAt
	if end.IsZero() {
		end = se.ExpiresAt
	}
	if se.State == job.SessionPaused {
		end = se.PausedUntil
	}
	return detail{
		TemplateID: detailsOf(se).Template, SandboxID: sandboxID(se.ID), ClientID: clientID, StartedAt: se.CreatedAt, EndAt: end, State: stateOf(se),
		CPUCount: max(1, int64(quota.CPUs)), MemoryMB: quota.MemoryBytes / megabyte, DiskSizeMB: quota.DiskBytes / megabyte,
		EnvdVersion: envdVersion, Metadata: metadataOf(se), Lifecycle: lifecycleOf(se), Volumes: []struct{}{},
	}
}

// metadataOf returns the metadata that the caller gave.
func metadataOf(se job.Session) map[string]string {
	all := membersOf(se)
	theirs := make(map[string]string, len(all))
	for name, value := range all {
		var text string
		if !isOwn(name) && json.Unmarshal(value, &text) == nil {
			theirs[name] = text
		}
	}
	return theirs
}

func detailsOf(se job.Session) details {
	of := details{Template: "base"}
	_ = json.Unmarshal(membersOf(se)[detailsName], &of) // a session that Kaa's own API opened has none
	return of
}

func membersOf(se job.Session) (all map[string]json.RawMessage) {
	_ = json.Unmarshal(se.Metadata, &all)
	return all
}

// isOwn reports whether a member of the metadata of a session is not the caller's.
func isOwn(name string) bool { return name == detailsName || strings.HasPrefix(name, ownPrefix) }

// encoded returns the metadata of a session.
func encoded(theirs map[string]string, of details) json.RawMessage {
	theirs = maps.Clone(theirs)
	maps.DeleteFunc(theirs, func(name, _ string) bool { return isOwn(name) })
	return encodedWith(theirs, of)
}

// encodedWith is encoded for members of whatever name.
func encodedWith(members map[string]string, of details) json.RawMessage {
	all := make(map[string]any, len(members)+1)
	for name, value := range members {
		all[name] = value
	}
	all[detailsName] = of
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // texts can be encoded
	}
	return text
}

type createBody struct {
	Template string            `json:"templateID"`
	Timeout  *float64          `json:"timeout"`
	Metadata map[string]string `json:"metadata"`
	Envs     map[string]string `json:"envVars"`
	Volumes  []json.RawMessage `json:"volumeMounts"`
	MCP      json.RawMessage   `json:"mcp"`
	// AutoPause has the sandbox paused at its end, and AutoResume resumes it with the next call.
	AutoPause  bool `json:"autoPause"`
	AutoResume struct {
		Enabled bool `json:"enabled"`
	} `json:"autoResume"`
}

func (d *Dialect) create(w http.ResponseWriter, r *http.Request) error {
	var body createBody
	if err := decode(r, &body); err != nil {
		return err
	}
	if len(body.Volumes) > 0 {
		return dialect.NewFault(http.StatusBadRequest, "not_supported", "Kaa's E2B dialect has no volumes")
	}
	caller := service.CallerOf(r.Context())
	var se job.Session
	var err error
	if name, _, _ := strings.Cut(body.Template, ":"); slices.Contains(templates(), name) {
		se, err = d.open(r.Context(), caller, body)
	} else {
		se, err = d.openCopy(r.Context(), caller, body)
	}
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusCreated, d.sandboxOf(caller, se))
	return nil
}

// onEnd is what happens to a sandbox at its end.
func (b createBody) onEnd() (onEnd string, autoResume bool) {
	if b.AutoPause {
		return job.OnEndPause, b.AutoResume.Enabled
	}
	return job.OnEndEnd, false
}

func (b createBody) endsIn() *float64 {
	if b.Timeout != nil {
		return b.Timeout
	}
	return new(defaultTimeout)
}

// open opens the session of a sandbox.
func (d *Dialect) open(ctx context.Context, c service.Caller, body createBody) (job.Session, error) {
	longest := d.service.Limits().Sessions
	age, idle := longest.MaxAge.Seconds(), longest.MaxIdleTimeout.Seconds()
	onEnd, autoResume := body.onEnd()
	return d.service.OpenSession(ctx, c, job.SessionRequest{
		Envs: d.envs(body.Envs), IdleTimeout: &idle, MaxAge: &age, EndsIn: body.endsIn(), OnEnd: onEnd, AutoResume: autoResume, OnCrash: job.OnCrashRestart, Workdir: home,
		Metadata: encoded(body.Metadata, details{Template: cmp.Or(body.Template, "base")}),
	})
}

// openCopy opens the session of a sandbox that is made of a snapshot.
func (d *Dialect) openCopy(ctx context.Context, c service.Caller, body createBody) (job.Session, error) {
	of, ok, err := d.snapshotNamed(ctx, c, body.Template)
	if err != nil {
		return of, err
	}
	if !ok {
		return of, dialect.NewFault(http.StatusNotFound, "no_template", "template '%s' not found: Kaa has base, code-interpreter-v1 and snapshots of this key", clipped(body.Template))
	}
	onEnd, autoResume := body.onEnd()
	envs := maps.Clone(detailsOf(of).Envs)
	if envs == nil {
		envs = map[string]string{}
	}
	maps.Copy(envs, body.Envs)
	change := &job.SessionChangeRequest{EndsIn: body.endsIn(), OnEnd: onEnd, AutoResume: autoResume}
	members := maps.Clone(body.Metadata)
	maps.DeleteFunc(members, func(name, _ string) bool { return isOwn(name) })
	return d.copied(ctx, c, of, change, details{Template: body.Template, Envs: envs}, members)
}

// envs are the variables of a sandbox beside those that Kaa sets.
func (*Dialect) envs(theirs map[string]string) map[string]string {
	all := map[string]string{"USER": "user", "LOGNAME": "user", "E2B_SANDBOX": "true"}
	maps.Copy(all, theirs)
	return all
}

// endIn sets the end of a sandbox to some seconds from now.
func (d *Dialect) endIn(r *http.Request, session string, timeout *float64, onlyLater bool) (job.Session, error) {
	seconds, age := defaultTimeout, d.service.Limits().Sessions.MaxAge.Seconds()
	if timeout != nil {
		seconds = *timeout
	}
	se, err := d.service.ChangeSession(r.Context(), service.CallerOf(r.Context()), session, job.SessionChangeRequest{EndsIn: &seconds, MaxAge: &age, OnlyLater: onlyLater})
	if err != nil {
		se.ID = session
	}
	return se, err
}

// sandboxIn returns the session of a sandbox that lives.
func (d *Dialect) sandboxIn(r *http.Request) (job.Session, error) {
	gone := dialect.NewFault(http.StatusNotFound, "sandbox_not_found", "sandbox \"%s\" doesn't exist or you don't have access to it", clipped(r.PathValue("id")))
	id, ok, err := d.sessionFor(r, r.PathValue("id"))
	if err != nil {
		return job.Session{}, err
	}
	if !ok {
		return job.Session{}, gone
	}
	service.CallOf(r.Context()).SessionID = id
	se, err := d.service.Session(r.Context(), service.CallerOf(r.Context()), id)
	if isGone(err) || err == nil && (se.State == job.SessionEnded || isSnapshot(se) || se.AtEnd == nil && isOver(se)) {
		return se, gone
	}
	return se, err
}

func (d *Dialect) get(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandboxIn(r)
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, d.detailOf(se))
	}
	return err
}

func (d *Dialect) kill(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandboxIn(r)
	if err == nil {
		_, err = d.service.CloseSession(r.Context(), service.CallerOf(r.Context()), se.ID)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

type timeoutBody struct {
	Timeout  *float64 `json:"timeout"`
	Duration *float64 `json:"duration"`
	Count    int      `json:"count"`
}

func (d *Dialect) setTimeout(w http.ResponseWriter, r *http.Request) error {
	var body timeoutBody
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Timeout == nil || *body.Timeout < 0 {
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "timeout must be a number of seconds, 0 or more")
	}
	if *body.Timeout == 0 {
		return d.kill(w, r)
	}
	se, err := d.sandboxIn(r)
	if err == nil {
		_, err = d.endIn(r, se.ID, body.Timeout, false)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (d *Dialect) refresh(w http.ResponseWriter, r *http.Request) error {
	var body timeoutBody
	if err := decode(r, &body); err != nil {
		return err
	}
	se, err := d.sandboxIn(r)
	if err == nil {
		_, err = d.endIn(r, se.ID, body.Duration, true)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// network changes nothing: code in a sandbox reaches no network in any case.
func (d *Dialect) network(w http.ResponseWriter, r *http.Request) error {
	_, err := d.sandboxIn(r)
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
