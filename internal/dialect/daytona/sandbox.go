package daytona

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// home is the home and work directory of a sandbox.
	home = "/home/daytona"
	// usualWork is that of a session whose runner gives no paths of its own.
	usualWork = "/work"
	// languageLabel is the label with which the SDKs say what code-run executes.
	languageLabel = "code-toolbox-language"
	gibibyte      = 1 << 30
	// organization is the one that everything belongs to.
	organization = "kaa"
	// userName is the name of the user of the code.
	userName = "daytona"
)

// The states of a sandbox.
const (
	stateStarted   = "started"
	stateStopped   = "stopped"
	stateArchived  = "archived"
	statePaused    = "paused"
	stateDestroyed = "destroyed"
)

// sandbox is a session as the SDKs know it. Python's model requires most of the fields, and integers where they are numbers.
type sandbox struct {
	ID              string            `json:"id"`
	OrganizationID  string            `json:"organizationId"`
	Name            string            `json:"name"`
	Snapshot        string            `json:"snapshot"`
	User            string            `json:"user"`
	Env             map[string]string `json:"env"`
	Labels          map[string]string `json:"labels"`
	Public          bool              `json:"public"`
	NetworkBlockAll bool              `json:"networkBlockAll"`
	KVM             bool              `json:"kvm"`
	Target          string            `json:"target"`
	CPU             int64             `json:"cpu"`
	GPU             int64             `json:"gpu"`
	Memory          int64             `json:"memory"`
	Disk            int64             `json:"disk"`
	State           string            `json:"state"`
	DesiredState    string            `json:"desiredState"`
	AutoStop        int64             `json:"autoStopInterval"`
	AutoArchive     int64             `json:"autoArchiveInterval"`
	AutoDelete      int64             `json:"autoDeleteInterval"`
	AutoPause       int64             `json:"autoPauseInterval"`
	AllowList       string            `json:"networkAllowList,omitempty"`
	AllowDomains    string            `json:"domainAllowList,omitempty"`
	Volumes         []mount           `json:"volumes"`
	BackupState     string            `json:"backupState"`
	LastActivityAt  time.Time         `json:"lastActivityAt"`
	AutoDestroyAt   *time.Time        `json:"autoDestroyAt"`
	CreatedAt       time.Time         `json:"createdAt"`
	UpdatedAt       time.Time         `json:"updatedAt"`
	ToolboxProxyURL string            `json:"toolboxProxyUrl"`
}

// settings are what a sandbox is asked for and Kaa only keeps: in the session's metadata.
type settings struct {
	Env         map[string]string `json:"env,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Snapshot    string            `json:"snapshot,omitempty"`
	Public      bool              `json:"public,omitempty"`
	BlockAll    bool              `json:"networkBlockAll,omitempty"`
	Target      string            `json:"target,omitempty"`
	CPU         int64             `json:"cpu,omitempty"`
	Memory      int64             `json:"memory,omitempty"`
	Disk        int64             `json:"disk,omitempty"`
	AutoStop    int64             `json:"autoStop"`
	AutoArchive int64             `json:"autoArchive"`
	AutoDelete  int64             `json:"autoDelete"`
	State       string            `json:"state,omitempty"` // of a session that is paused
	AutoPause   int64             `json:"autoPause,omitempty"`
	AllowList   string            `json:"networkAllowList,omitempty"`
	Domains     string            `json:"domainAllowList,omitempty"`
	Volumes     []mount           `json:"volumes,omitempty"`
	Set         map[string]string `json:"set,omitempty"` // variables that were set later, for all that is executed from then on
	Rotations   int               `json:"rotations,omitempty"`
}

// Members of the metadata. Each label is one of its own, so that listings can select by it.
const (
	settingsMember = "daytona"
	markMember     = "daytona.sandbox"
	labelMember    = "daytona.label."
)

func (s settings) metadata() json.RawMessage {
	members := map[string]any{settingsMember: s, markMember: "true"}
	for name, value := range s.Labels {
		members[labelMember+name] = value
	}
	data, err := json.Marshal(members)
	if err != nil {
		return nil // strings and numbers can be encoded
	}
	return data
}

func settingsOf(se job.Session) settings {
	var members struct {
		Settings settings `json:"daytona"`
	}
	members.Settings.AutoDelete = -1
	_ = json.Unmarshal(se.Metadata, &members) // of a session that was opened otherwise
	return members.Settings
}

// stateOf is the state of a session.
func stateOf(se job.Session, s settings) string {
	switch {
	case se.State == job.SessionEnded:
		return stateDestroyed
	case se.PausedAt.IsZero():
		return stateStarted
	case s.State != "":
		return s.State
	}
	return statePaused
}

// view is a session as a sandbox.
func (d *Dialect) view(r *http.Request, se job.Session) sandbox {
	s := settingsOf(se)
	quota := d.service.Limits().DefaultQuota
	state := stateOf(se, s)
	box := sandbox{
		ID: se.ID, OrganizationID: organization, Name: se.Name, Snapshot: s.Snapshot, User: userName, Env: s.Env, Labels: s.Labels,
		Public: s.Public, NetworkBlockAll: s.BlockAll, Target: s.Target, State: state, DesiredState: state,
		CPU: firstOf(s.CPU, int64(quota.CPUs), 1), Memory: firstOf(s.Memory, quota.MemoryBytes/gibibyte, 1), Disk: firstOf(s.Disk, quota.DiskBytes/gibibyte, 1),
		AutoStop: s.AutoStop, AutoArchive: s.AutoArchive, AutoDelete: s.AutoDelete, AutoPause: s.AutoPause, AllowList: s.AllowList, AllowDomains: s.Domains,
		Volumes: s.Volumes, BackupState: "None", LastActivityAt: se.LastUsed.UTC(),
		CreatedAt: se.CreatedAt.UTC(), UpdatedAt: se.LastUsed.UTC(), ToolboxProxyURL: toolboxURL(r),
	}
	if !se.EndsAt.IsZero() {
		box.AutoDestroyAt = new(se.EndsAt.UTC())
	}
	if box.Volumes == nil {
		box.Volumes = []mount{}
	}
	if box.Name == "" {
		box.Name = se.ID
	}
	if box.Snapshot == "" {
		box.Snapshot = firstText(se.Runtime, defaultSnapshot)
	}
	if box.Target == "" {
		box.Target = "local"
	}
	if box.Env = merged(s.Env, s.Set); box.Env == nil {
		box.Env = map[string]string{}
	}
	if box.Labels == nil {
		box.Labels = map[string]string{}
	}
	return box
}

func firstOf(numbers ...int64) int64 {
	for _, n := range numbers {
		if n > 0 {
			return n
		}
	}
	return 0
}

func firstText(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// toolboxURL is the address below which the SDK finds the toolbox of each sandbox.
func toolboxURL(r *http.Request) string {
	url := dialect.BaseURL(r) + strings.TrimSuffix(toolbox, "/")
	if holder := service.CallerOf(r.Context()).Holder(); holder != "" { // see Signature
		url += "/" + holderMark + holder
	}
	return url
}

// envsOf are the variables of something that a sandbox executes: those that were set after its creation, and those that are asked for.
func envsOf(se job.Session, asked map[string]string) map[string]string {
	return merged(settingsOf(se).Set, asked)
}

// merged has the members of both; those of the second one count.
func merged(first, second map[string]string) map[string]string {
	if len(first) == 0 {
		return second
	}
	all := maps.Clone(first)
	maps.Copy(all, second)
	return all
}

// homeOf is the home and work directory of a session.
func homeOf(se job.Session) string { return firstText(se.Workdir, usualWork) }

var sandboxName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,127}$`)

// find returns the live session that a sandbox is, by its id or its name.
func (d *Dialect) find(ctx context.Context, idOrName string) (job.Session, error) {
	caller := service.CallerOf(ctx)
	var se job.Session
	var err error
	switch {
	case service.IsID(idOrName):
		se, err = d.service.Session(ctx, caller, idOrName)
	case sandboxName.MatchString(idOrName):
		se, err = d.service.SessionNamed(ctx, caller, idOrName)
	default:
		err = job.ErrNoSession
	}
	if err == nil && se.State == job.SessionEnded {
		err = job.ErrNoSession
	}
	if err == nil {
		service.CallOf(ctx).SessionID = se.ID
	}
	return se, err
}
