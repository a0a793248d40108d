package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// session is a session as the argument of a tool has named it; the zero one is a fresh sandbox.
type session struct {
	id, name string
	made     bool // by this call
}

// label is how a model calls it.
func (s session) label() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

// sessionName has the names that the API takes, too.
var sessionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,127}$`)

func checkName(name string) error {
	if !sessionName.MatchString(name) {
		return &argumentError{"the argument session must be the id of a session, or a name: a letter or digit, then up to 127 letters, digits and any of . _ : @ ~ -"}
	}
	return nil
}

// opened is the metadata of a session that a tool has opened.
type opened struct {
	By       string `json:"openedBy"`
	Packages string `json:"packageSet,omitempty"`
}

// ensure returns the session of an id, or of a name, which it opens if there is none, with these packages. They are added to a session
// that is open, unless it was opened with them; its interpreter imports nothing ahead any more.
func (d *Dialect) ensure(ctx context.Context, c service.Caller, named string, packages, preload []string) (session, error) {
	if len(preload) > 0 && len(packages) == 0 {
		return session{}, &argumentError{"the argument preload is for packages; name them in packages, too, or leave it out"}
	}
	if service.IsID(named) {
		return d.add(ctx, c, session{id: named}, packages) // it is looked for when it is used
	}
	if err := checkName(named); err != nil {
		return session{}, err
	}
	noted := opened{By: "mcp"}
	if len(packages) > 0 {
		noted.Packages = job.PackageSet(packages)
	}
	metadata, err := json.Marshal(noted)
	if err != nil {
		return session{}, fmt.Errorf("encode metadata: %w", err)
	}
	s, made, err := d.Service.EnsureSession(ctx, c, named, job.SessionRequest{Packages: packages, Preload: preload, Metadata: metadata})
	if err != nil || made || noted.Packages == "" {
		return session{id: s.ID, name: named, made: made}, err
	}
	var has opened
	if json.Unmarshal(s.Metadata, &has) == nil && has.Packages == noted.Packages {
		packages = nil
	}
	return d.add(ctx, c, session{id: s.ID, name: named}, packages)
}

// add adds packages to a session that is open.
func (d *Dialect) add(ctx context.Context, c service.Caller, s session, packages []string) (session, error) {
	if len(packages) == 0 {
		return s, nil
	}
	_, err := d.Service.AddPackages(ctx, c, s.id, packages)
	return s, err
}

// find returns the live session of an id or a name.
func (d *Dialect) find(ctx context.Context, c service.Caller, named string) (session, error) {
	if service.IsID(named) {
		return session{id: named}, nil
	}
	if err := checkName(named); err != nil {
		return session{}, err
	}
	s, err := d.Service.SessionNamed(ctx, c, named)
	return session{id: s.ID, name: named}, err
}

// afterwards says what has become of a session, if that is not as usual.
func afterwards(s job.SessionAfter) string {
	switch {
	case s.State == job.SessionEnded:
		return "\nThe session has ended (" + string(s.Reason) + "): its variables and files are gone. The next call with a name opens a new one."
	case s.Restarted:
		return "\nThe interpreter of the session was replaced (" + string(s.Reason) + "): variables and imports are gone, files are kept."
	}
	return ""
}

type sessionInput struct {
	Session string `json:"session"`
}

type forkInput struct {
	Session string `json:"session"`
	Count   *int   `json:"count,omitempty"`
}

type rollbackInput struct {
	Session    string `json:"session"`
	Checkpoint string `json:"checkpoint,omitempty"`
}

type noInput struct{}

func (d *Dialect) addSessionTools() {
	addTool(d, tool[noInput]{
		name: "list_sessions", title: "List sessions", hints: reads,
		description: "List the live sessions of this API key, with their names and ids, newest first.",
		run: func(ctx context.Context, r request, _ noInput) (*sdk.CallToolResult, error) {
			return d.listSessions(ctx, r)
		},
	})
	addTool(d, tool[forkInput]{
		name: "fork_session", title: "Fork a session", hints: adds,
		description: "Make copies of a live session, with its variables, imports and files, that go on independently. Returns their ids. Useful to try several ways from the same state.",
		adjust: func(s *jsonschema.Schema) {
			describe(map[string]string{"count": "How many copies. Default 1."})(s)
			least, most := 1.0, float64(job.MaxForks)
			s.Properties["count"].Minimum, s.Properties["count"].Maximum = &least, &most
		},
		run: d.fork,
	})
	addTool(d, tool[sessionInput]{
		name: "checkpoint_session", title: "Keep a checkpoint of a session", hints: adds,
		description: fmt.Sprintf("Keep what a session is now, with variables and files, so that rollback_session can bring it back. A session may have %d checkpoints.", job.MaxCheckpoints),
		adjust:      describe(nil),
		run:         d.checkpoint,
	})
	addTool(d, tool[rollbackInput]{
		name: "rollback_session", title: "Roll a session back",
		description: "Make a session what it was at a checkpoint: everything since then is lost, files included.",
		adjust:      describe(map[string]string{"checkpoint": "Id that checkpoint_session has returned. Default: the newest checkpoint."}),
		run:         d.rollback,
	})
	addTool(d, tool[sessionInput]{
		name: "end_session", title: "End a session", hints: idempotent,
		description: "End a session: its variables and files are deleted, and its executions are stopped. Sessions that are not used end by themselves after some minutes.",
		adjust:      describe(nil),
		run:         d.endSession,
	})
}

// mostSessions bounds a list of sessions.
const mostSessions = 100

func (d *Dialect) listSessions(ctx context.Context, r request) (*sdk.CallToolResult, error) {
	all, next, err := d.Service.Sessions(ctx, r.caller, job.SessionFilter{Limit: mostSessions})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return said("There are no live sessions. run_code opens one with the name that it is given."), nil
	}
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s (id %s): %s, opened %s, last used %s, ends %s", orID(s), s.ID, s.State, clock(s.CreatedAt), clock(s.LastUsed), clock(s.ExpiresAt))
		if s.ForkedFrom != "" {
			b.WriteString(", fork of " + s.ForkedFrom)
		}
		b.WriteByte('\n')
	}
	if next != "" {
		b.WriteString("There are more.\n")
	}
	return said("%sIt is %s now.", b.String(), clock(time.Now())), nil
}

func orID(s job.Session) string { return session{id: s.ID, name: s.Name}.label() }

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func (d *Dialect) fork(ctx context.Context, r request, in forkInput) (*sdk.CallToolResult, error) {
	count := 1
	if in.Count != nil {
		count = *in.Count
	}
	if count < 1 || count > job.MaxForks {
		return nil, &argumentError{fmt.Sprintf("the argument count must be from 1 to %d", job.MaxForks)}
	}
	s, err := d.find(ctx, r.caller, in.Session)
	if err != nil {
		return nil, err
	}
	forks, err := d.Service.Fork(ctx, r.caller, s.id, count)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(forks))
	for i, f := range forks {
		ids[i] = f.ID
	}
	return said("Made %d of session %s. Use these ids as session:\n%s", count, s.label(), strings.Join(ids, "\n")), nil
}

func (d *Dialect) checkpoint(ctx context.Context, r request, in sessionInput) (*sdk.CallToolResult, error) {
	s, err := d.find(ctx, r.caller, in.Session)
	if err != nil {
		return nil, err
	}
	id, err := d.Service.Checkpoint(ctx, r.caller, s.id)
	if err != nil {
		return nil, err
	}
	return said("Checkpoint %s of session %s.", id, s.label()), nil
}

func (d *Dialect) rollback(ctx context.Context, r request, in rollbackInput) (*sdk.CallToolResult, error) {
	s, err := d.find(ctx, r.caller, in.Session)
	if err != nil {
		return nil, err
	}
	if _, err := d.Service.Rollback(ctx, r.caller, s.id, in.Checkpoint); err != nil {
		return nil, err
	}
	return said("Session %s is what it was at the checkpoint.", s.label()), nil
}

func (d *Dialect) endSession(ctx context.Context, r request, in sessionInput) (*sdk.CallToolResult, error) {
	s, err := d.find(ctx, r.caller, in.Session)
	if err != nil {
		return nil, err
	}
	if _, err := d.Service.CloseSession(ctx, r.caller, s.id); err != nil {
		return nil, err
	}
	return said("Session %s has ended.", s.label()), nil
}
