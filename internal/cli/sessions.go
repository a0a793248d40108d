package cli

import (
	"cmp"
	"context"
	"fmt"
	"regexp"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// isID matches the form of an id. Anything else is the name of a session.
var isID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// sessionID returns the id of a session that is named by its id or its name.
func sessionID(ctx context.Context, c *client.Client, ref string) (string, error) {
	if isID.MatchString(ref) {
		return ref, nil
	}
	s, err := c.GetSessionByName(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("session %s: %w", ref, err)
	}
	return s.ID, nil
}

func sessionOf(ctx context.Context, c *client.Client, ref string) (*string, error) {
	id, err := sessionID(ctx, c, ref)
	return &id, err
}

const sessionHead = "SESSION NAME STATE RUNTIME LAST_USED EXPIRES"

func sessionRow(s client.SessionView) []string {
	return []string{s.ID, cmp.Or(s.Name, "-"), s.State, s.Runtime, moment(&s.LastUsedAt), momentOr(s.ExpiresAt)}
}

// ListSessions prints the live sessions.
func ListSessions(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := pages(ctx, 0, func(ctx context.Context, cursor string) ([]client.SessionView, string, error) {
		page, err := c.ListSessions(ctx, client.ListSessionsParams{Cursor: cursor, State: []string{"idle", "busy", "paused"}})
		return page.Sessions, page.NextCursor, err
	})
	if err != nil {
		return err
	}
	return list(p.Stdout, sessionHead, all, sessionRow)
}

// SessionOptions describe a session that is to be opened.
type SessionOptions struct {
	// Name finds it again; with it, a session that is there already is used.
	Name, Runtime, Persist string
	Limits, Envs, Packages []string
	Preload                []string
	// Idle is the seconds without use after which it ends; 0 for the default of the server.
	Idle float64
}

// body is the session as the API takes it.
func (o SessionOptions) body(p app.Process) (client.SessionBody, error) {
	limits, err := limitsOf(o.Limits)
	body := client.SessionBody{Limits: limits, Envs: environment(p, o.Envs), Packages: o.Packages, Preload: o.Preload}
	if o.Runtime != "" {
		body.Runtime = &o.Runtime
	}
	if o.Persist != "" {
		body.Persist = &o.Persist
	}
	if o.Idle > 0 {
		body.IdleTimeout = &o.Idle
	}
	return body, err
}

// OpenSession opens a session and prints its id.
func OpenSession(ctx context.Context, p app.Process, o SessionOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	body, err := o.body(p)
	if err != nil {
		return err
	}
	var s client.SessionView
	if o.Name != "" {
		s, err = c.EnsureSession(ctx, o.Name, body)
	} else {
		s, err = c.OpenSession(ctx, body)
	}
	if err != nil {
		return err
	}
	return show(p.Stdout, s, s.ID)
}

// ChangeSession does one thing with a session: what is get, rm, pause, resume, restart, interrupt or checkpoint.
func ChangeSession(ctx context.Context, p app.Process, ref, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	id, err := sessionID(ctx, c, ref)
	if err != nil {
		return err
	}
	var s client.SessionView
	switch what {
	case "get":
		if s, err = c.GetSession(ctx, id); err == nil && !inJSON(p.Stdout) {
			return list(p.Stdout, sessionHead, []client.SessionView{s}, sessionRow)
		}
	case "rm":
		s, err = c.CloseSession(ctx, id)
	case "pause":
		s, err = c.PauseSession(ctx, id, client.PauseBody{})
	case "resume":
		s, err = c.ResumeSession(ctx, id)
	case "restart":
		s, err = c.RestartSession(ctx, id)
	case "checkpoint":
		made, err := c.CheckpointSession(ctx, id)
		if err != nil {
			return err
		}
		return show(p.Stdout, made, made.CheckpointID)
	case "interrupt":
		done, err := c.InterruptSession(ctx, id)
		if err != nil {
			return err
		}
		return show(p.Stdout, done, map[bool]string{true: "interrupted " + done.JobID, false: "nothing runs in it"}[done.Interrupted])
	}
	if err != nil {
		return err
	}
	return show(p.Stdout, s, id+" is "+s.State)
}

// ForkSession makes forks of a session and prints their ids.
func ForkSession(ctx context.Context, p app.Process, ref string, count int) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	id, err := sessionID(ctx, c, ref)
	if err != nil {
		return err
	}
	forks, err := c.ForkSession(ctx, id, client.ForkBody{Count: new(int64(count))})
	if err != nil {
		return err
	}
	for _, s := range forks.Sessions {
		if err := show(p.Stdout, s, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// RollBack returns a session to a checkpoint, or to its newest one.
func RollBack(ctx context.Context, p app.Process, ref, checkpoint string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	id, err := sessionID(ctx, c, ref)
	if err != nil {
		return err
	}
	body := client.RollbackBody{}
	if checkpoint != "" {
		body.CheckpointID = &checkpoint
	}
	s, err := c.RollbackSession(ctx, id, body)
	if err != nil {
		return err
	}
	return show(p.Stdout, s, id+" is rolled back")
}
