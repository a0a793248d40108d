package e2b

import (
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
	// detailsName is the member of a session's metadata that has what is not the caller's.
	detailsName = "kaa.e2b"
)

// templates are the names of what a sandbox is made of; all of them are the same here.
func templates() []string {
	return []string{"", "base", "code-interpreter-v1", "code-interpreter"}
}

// details are what a session keeps for its sandbox.
type details struct {
	Template string `json:"template"`
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
	d.handle("GET /snapshots", "listSnapshots", d.listSnapshots)
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
	return sandbox{
		TemplateID: detailsOf(se).Template, SandboxID: sandboxID(se.ID), ClientID: clientID, EnvdVersion: envdVersion,
		AccessToken: token, TrafficToken: token,
	}
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
		EnvdVersion: envdVersion, Metadata: metadataOf(se), Lifecycle: lifecycle{OnTimeout: "kill"}, Volumes: []struct{}{},
	}
}

// metadataOf returns the metadata that the caller gave.
func metadataOf(se job.Session) map[string]string {
	all := membersOf(se)
	theirs := make(map[string]string, len(all))
	for name, value := range all {
		var text string
		if name != detailsName && json.Unmarshal(value, &text) == nil {
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

// encoded returns the metadata of a session.
func encoded(theirs map[string]string, of details) json.RawMessage {
	all := make(map[string]any, len(theirs)+1)
	for name, value := range theirs {
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
}

func (d *Dialect) create(w http.ResponseWriter, r *http.Request) error {
	var body createBody
	if err := decode(r, &body); err != nil {
		return err
	}
	if name, _, _ := strings.Cut(body.Template, ":"); !slices.Contains(templates(), name) {
		return dialect.NewFault(http.StatusNotFound, "no_template", "template '%s' not found: Kaa has base and code-interpreter-v1", clipped(body.Template))
	}
	if len(body.Volumes) > 0 {
		return dialect.NewFault(http.StatusBadRequest, "not_supported", "Kaa's E2B dialect has no volumes")
	}
	caller := service.CallerOf(r.Context())
	longest := d.service.Limits().Sessions
	age, idle := longest.MaxAge.Seconds(), longest.MaxIdleTimeout.Seconds()
	template := body.Template
	if template == "" {
		template = "base"
	}
	ends := defaultTimeout
	if body.Timeout != nil {
		ends = *body.Timeout
	}
	se, err := d.service.OpenSession(r.Context(), caller, job.SessionRequest{
		Envs: d.envs(body.Envs), IdleTimeout: &idle, MaxAge: &age, EndsIn: &ends, Workdir: home, Metadata: encoded(body.Metadata, details{template}),
	})
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusCreated, d.sandboxOf(caller, se))
	return nil
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
	id, ok := sessionOf(r.PathValue("id"))
	if !ok {
		return job.Session{}, gone
	}
	service.CallOf(r.Context()).SessionID = id
	se, err := d.service.Session(r.Context(), service.CallerOf(r.Context()), id)
	if isGone(err) || err == nil && se.State == job.SessionEnded {
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
