package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// uuidLength is the length of an id. uuid.Validate allows other forms, too.
const uuidLength = 36

// IsID reports whether a text has the form of an id.
func IsID(text string) bool { return len(text) == uuidLength && uuid.Validate(text) == nil }

// checkSession refuses what cannot be the id of a session before it becomes a part of a key.
func checkSession(id string) error {
	if !IsID(id) {
		return fmt.Errorf("look for session: %w", job.ErrNoSession)
	}
	return nil
}

// OpenSession opens a session of the caller.
func (s *Service) OpenSession(ctx context.Context, c Caller, r job.SessionRequest) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	return s.open(ctx, c, r, "")
}

func (s *Service) open(ctx context.Context, c Caller, r job.SessionRequest, name string) (job.Session, error) {
	own := c.limits()
	limits := s.cfg.Limits.For(own)
	limits.Tenant = c.Tenant
	var err error
	if r.Runtime, err = own.Runtime(r.Runtime); err != nil {
		return job.Session{}, err
	}
	runners, err := s.cfg.Fleet.Runners(ctx)
	if err != nil {
		return job.Session{}, err
	}
	for _, rt := range job.Runtimes(runners) {
		limits.Runtimes = append(limits.Runtimes, rt.Name)
	}
	n, err := limits.AcceptSession(r)
	if err != nil {
		return job.Session{}, err
	}
	able := n.Spec.Placeable(runners)
	if len(able) == 0 && len(runners) > 0 {
		return job.Session{}, unplaceable(n.Spec)
	}
	if n.Session.ID, err = newID("session"); err != nil {
		return job.Session{}, err
	}
	n.Session.Name = name
	CallOf(ctx).SessionID = n.Session.ID
	n.Caller, n.Shares, n.SessionBounds, n.Candidates = c.ID(), s.cfg.Shared, own.SessionBounds(), job.Candidates(able, n.Session.Runtime)
	se, err := s.openSaved(ctx, n)
	return se, endTooLate(err, r.EndsIn != nil)
}

// endTooLate names the field of an end that the maximum age of a session forbids; other errors stay.
func endTooLate(err error, in bool) error {
	late, ok := errors.AsType[*job.TooLateError](err)
	if !ok {
		return err
	}
	field := "endsAt"
	if in {
		field = "endsIn"
	}
	return &job.ValidationError{Fields: []job.FieldError{{Field: field, Message: late.Error()}}}
}

// unplaceable says that no runner can have such a session.
func unplaceable(spec job.SessionSpec) error {
	field, message := "workdir", "needs a runner with the sandbox level strict, and there is none; leave it out"
	switch {
	case spec.Network != nil:
		field, message = "network", "needs a runner with the sandbox level strict that lets code reach the network (KAA_EGRESS), and there is none that can also have the rest of the request; leave it out"
	case !spec.HasPaths():
		field, message = "persist", "needs a runner of a newer release, and there is none; leave it out"
	case spec.Workdir == "":
		field = "home"
	}
	return &job.ValidationError{Fields: []job.FieldError{{Field: field, Message: message}}}
}

// Session returns a session that the caller may see, for some time also after its end.
func (s *Service) Session(ctx context.Context, c Caller, id string) (job.Session, error) {
	if err := c.may(access.Read); err != nil {
		return job.Session{}, err
	}
	return s.session(ctx, c, id)
}

func (s *Service) session(ctx context.Context, c Caller, id string) (job.Session, error) {
	if err := checkSession(id); err != nil {
		return job.Session{}, err
	}
	return s.cfg.Sessions.Session(ctx, id, c.viewer())
}

// Sessions lists the live sessions that the caller may see and that fit the filter, newest first.
func (s *Service) Sessions(ctx context.Context, c Caller, f job.SessionFilter) (sessions []job.Session, next string, err error) {
	if err := c.may(access.Read); err != nil {
		return nil, "", err
	}
	f.Viewer = c.viewer()
	sessions, next, err = s.cfg.Sessions.ListSessions(ctx, f)
	if err == nil {
		err = s.weigh(ctx, sessions)
	}
	return sessions, next, err
}

// weigh completes sessions with the memory that they use.
func (s *Service) weigh(ctx context.Context, sessions []job.Session) error {
	var runners []string
	for i := range sessions {
		if r := sessions[i].Runner; !slices.Contains(runners, r) {
			runners = append(runners, r)
		}
	}
	if len(runners) == 0 {
		return nil
	}
	used, err := s.cfg.Fleet.SessionsUsed(ctx, runners)
	for i := range sessions {
		sessions[i].MemoryBytes = used[sessions[i].ID]
	}
	return err
}

// ChangeSession changes the settings of a live session, and returns it as it is then.
func (s *Service) ChangeSession(ctx context.Context, c Caller, id string, r job.SessionChangeRequest) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	if err := checkSession(id); err != nil {
		return job.Session{}, err
	}
	change, err := s.cfg.Limits.For(c.limits()).AcceptSessionChange(r)
	if err != nil {
		return job.Session{}, err
	}
	if err := s.cfg.Sessions.ChangeSession(ctx, id, c.viewer(), change); err != nil {
		return job.Session{}, endTooLate(err, r.EndsIn != nil)
	}
	return s.session(ctx, c, id)
}

// CloseSession ends a session with all that it executes, and returns it as it is then.
func (s *Service) CloseSession(ctx context.Context, c Caller, id string) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	if err := checkSession(id); err != nil {
		return job.Session{}, err
	}
	end := job.SessionEnd{Reason: job.EndDeleted, Message: "its owner deleted it"}
	if c.All() {
		end.Message = "it was deleted with an admin key"
	}
	if err := s.cfg.Sessions.CloseSession(ctx, id, c.viewer(), end); err != nil {
		return job.Session{}, err
	}
	return s.session(ctx, c, id)
}

// Interrupt ends what a session executes and returns that job; empty if it executes nothing.
func (s *Service) Interrupt(ctx context.Context, c Caller, session string) (string, error) {
	if err := c.may(access.Execute); err != nil {
		return "", err
	}
	if err := checkSession(session); err != nil {
		return "", err
	}
	return s.cfg.Sessions.InterruptSession(ctx, session, c.ID(), job.LaneDefault)
}

// Restart gives a session a fresh interpreter, in the order of its executions.
func (s *Service) Restart(ctx context.Context, c Caller, session string) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	if _, err := s.operate(ctx, c, session, job.OpRestart, nil); err != nil {
		return job.Session{}, err
	}
	return s.session(ctx, c, session)
}

// PauseSession stops all processes of a session, in the order of its executions.
func (s *Service) PauseSession(ctx context.Context, c Caller, id string, most *float64, autoResume bool) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	args, err := s.cfg.Limits.For(c.limits()).AcceptPause(most, autoResume)
	if err != nil {
		return job.Session{}, err
	}
	if _, err := s.operate(ctx, c, id, job.OpPause, args); err != nil {
		return job.Session{}, err
	}
	return s.session(ctx, c, id)
}

// ResumeSession lets the processes of a paused session go on. It does nothing to a session that is not paused.
func (s *Service) ResumeSession(ctx context.Context, c Caller, id string) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	se, err := s.session(ctx, c, id)
	if err != nil || se.State != job.SessionEnded && se.PausedAt.IsZero() {
		return se, err
	}
	if _, err := s.operate(ctx, c, id, job.OpResume, nil); err != nil {
		return job.Session{}, err
	}
	return s.session(ctx, c, id)
}

// MeasureSession returns what the sandbox of a session uses now. It is not for a paused session, which it would resume.
func (s *Service) MeasureSession(ctx context.Context, c Caller, session string) (job.SessionMeasure, error) {
	if err := c.may(access.Read); err != nil {
		return job.SessionMeasure{}, err
	}
	data, err := s.operateIn(ctx, c, session, job.LaneBeside, job.OpMeasure, nil)
	if err != nil {
		return job.SessionMeasure{}, err
	}
	var m job.SessionMeasure
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("decode measure: %w", err)
	}
	return m, nil
}

// Fork makes count forks of a session, in the order of its executions.
func (s *Service) Fork(ctx context.Context, c Caller, session string, count int) ([]job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return nil, err
	}
	ids := make([]string, count)
	for i := range ids {
		var err error
		if ids[i], err = newID("session"); err != nil {
			return nil, err
		}
	}
	if _, err := s.operate(ctx, c, session, job.OpFork, job.ForkArgs{Sessions: ids, SessionBounds: c.limits().SessionBounds()}); err != nil {
		return nil, err
	}
	forks := make([]job.Session, count)
	for i, id := range ids {
		var err error
		if forks[i], err = s.session(ctx, c, id); err != nil {
			return nil, err
		}
	}
	return forks, nil
}

// Checkpoint keeps what a session is, in the order of its executions, and returns the
// checkpoint's id.
func (s *Service) Checkpoint(ctx context.Context, c Caller, session string) (string, error) {
	if err := c.may(access.Sessions); err != nil {
		return "", err
	}
	id, err := newID("checkpoint")
	if err != nil {
		return "", err
	}
	data, err := s.operate(ctx, c, session, job.OpCheckpoint, job.CheckpointArgs{Checkpoint: id})
	if err != nil {
		return "", err
	}
	var made job.CheckpointArgs
	if err := json.Unmarshal(data, &made); err != nil {
		return "", fmt.Errorf("decode checkpoint: %w", err)
	}
	return made.Checkpoint, nil
}

// Rollback makes a session what it was at a checkpoint; empty names the newest.
func (s *Service) Rollback(ctx context.Context, c Caller, session, checkpoint string) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	if _, err := s.operate(ctx, c, session, job.OpRollback, job.CheckpointArgs{Checkpoint: checkpoint}); err != nil {
		return job.Session{}, err
	}
	return s.session(ctx, c, session)
}

// operate has something done to a session, and returns what the runner answers.
func (s *Service) operate(ctx context.Context, c Caller, session, op string, args any) (json.RawMessage, error) {
	return s.operateIn(ctx, c, session, job.LaneDefault, op, args)
}

// operateIn is operate in the order of a lane.
func (s *Service) operateIn(ctx context.Context, c Caller, session, lane, op string, args any) (json.RawMessage, error) {
	id, err := newID("job")
	if err != nil {
		return nil, err
	}
	j, err := s.operationAs(ctx, c, session, job.NewJob{Job: job.Job{ID: id, Lane: lane}, Spec: job.Spec{Op: op}}, args)
	return j.Data, err
}

const (
	// opTimeout bounds an operation, which may also have to wait for an execution of the
	// session.
	opTimeout = 30 * time.Second
	// slowestMove is how many bytes a second of the files that are put into a session are moved
	// to its runner at least.
	slowestMove = 4 << 20
	// opKept is how long the record of an operation stays, and readKept how long that of a file
	// that is read, with the blob: longer than a download takes.
	opKept   = time.Minute
	readKept = 15 * time.Minute
)

// operation is operate with the whole spec, files included; it returns the job.
func (s *Service) operation(ctx context.Context, c Caller, session string, spec job.Spec, args any) (job.Job, error) {
	id, err := newID("job")
	if err != nil {
		return job.Job{}, err
	}
	return s.operationAs(ctx, c, session, job.NewJob{Job: job.Job{ID: id}, Spec: spec}, args)
}

// operationAs is operation for a draft with an id, a spec and its contents.
func (s *Service) operationAs(ctx context.Context, c Caller, session string, draft job.NewJob, args any) (job.Job, error) {
	spec := &draft.Spec
	if err := checkSession(session); err != nil {
		return job.Job{}, err
	}
	end, err := s.cfg.Hub.beginCall(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return job.Job{}, err
	}
	defer end()
	if spec.Args, err = json.Marshal(args); err != nil {
		return job.Job{}, fmt.Errorf("encode the arguments of %s: %w", spec.Op, err)
	}
	spec.Timeout = opTimeout
	if spec.Op == job.OpPackages {
		spec.Timeout += s.cfg.PackagesWait
	}
	for _, f := range spec.Files {
		spec.Timeout += time.Duration(f.Size) * (time.Second / slowestMove)
	}
	now := time.Now()
	draft.Job = job.Job{
		ID: draft.Job.ID, State: job.Queued, Queue: job.OperationQueue, MaxAttempts: 1, CreatedAt: now, QueuedAt: now,
		SessionID: session, InSession: true, Lane: cmp.Or(draft.Job.Lane, job.LaneOf(spec.Op)), Timeout: spec.Timeout, ResultTTL: opKept,
	}
	draft.Caller, draft.MostWaiting, draft.Subscriber = c.ID(), c.limits().MostWaiting(), s.cfg.Hub.Subscriber
	if job.LeavesOutput(spec.Op) {
		draft.Job.ResultTTL = readKept
	}
	j, err := s.createAndWait(ctx, draft)
	s.dropInputs(ctx, draft)
	if err != nil {
		return job.Job{}, err
	}
	if j.State != job.Completed {
		return job.Job{}, &EndError{j}
	}
	return j, nil
}
