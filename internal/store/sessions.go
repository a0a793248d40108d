package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// OpenSession records a session on one of its candidates. job.ErrTooManySessions: there is no
// room. job.ErrNoRunner: none of them lives. A job.VolumeInUseError: another session uses its volume. A job.NamedError: a live session of the caller has its name.
// A job.TooLateError: its maximum age forbids the end that is asked for.
func (s *Store) OpenSession(ctx context.Context, n job.NewSession) (job.Session, error) {
	const op = "open session"
	if err := s.hasRoom(ctx); err != nil {
		return job.Session{}, fmt.Errorf("%s: %w", op, err)
	}
	n.Spec.Network = n.Spec.Network.OwnedBy(n.Caller)
	spec, err := json.Marshal(n.Spec)
	if err != nil {
		return job.Session{}, fmt.Errorf("%s: encode spec: %w", op, err)
	}
	se := n.Session
	atEnd, err := encodedPause(se.AtEnd)
	if err != nil {
		return job.Session{}, fmt.Errorf("%s: %w", op, err)
	}
	most, shared := s.memory.mostOfCaller(s.cfg)
	each := make([]args, len(n.Candidates))
	for i, c := range n.Candidates {
		each[i] = args{{"runner", c.Runner}, {"most", c.Most}, {"runtime", c.Runtime}}
	}
	r, err := s.run(ctx, op, s.scripts.open, keys{{"session", sessionKey(se.ID)}}, args{
		{"id", se.ID},
		{"caller", cmp.Or(n.Caller, anonymous)},
		{"idle_timeout", se.IdleTimeout.Milliseconds()},
		{"max_age", se.MaxAge.Milliseconds()},
		{"spec", spec},
		{"metadata", []byte(se.Metadata)},
		s.tombstone(),
		{"shared", mark(n.Shares)},
		{"most_own", n.MostOwn},
		{"name", se.Name},
		{"workdir", se.Workdir},
		{"home", se.Home},
		{"most_bytes", most},
		{"shares_bytes", shared},
		{"volume", n.Spec.Volume},
		{"most_volumes", s.cfg.MaxCallerVolumes},
		{"memory", n.Spec.Quota.MemoryBytes},
		{"disk", n.Spec.Quota.DiskBytes},
		{"own_memory", n.OwnMemory},
		{"own_disk", n.OwnDisk},
		{"ends_at", setTime(se.EndsAt)},
		{"ends_in", millisOr(n.EndsIn)},
		{"at_end", atEnd},
	}, each...)
	if err != nil {
		return job.Session{}, err
	}
	switch r.word() {
	case "too_late":
		return job.Session{}, fmt.Errorf("%s: %w", op, &job.TooLateError{Latest: parseMillis(r.text(1))})
	case "named":
		return job.Session{}, fmt.Errorf("%s: %w", op, &job.NamedError{ID: r.text(1)})
	case "in_use":
		return job.Session{}, fmt.Errorf("%s: %w", op, volumeInUse(n.Spec.Volume, r))
	case "volumes":
		return job.Session{}, fmt.Errorf("%s: %w", op, &job.VolumesFullError{Count: atoi(r.text(1)), Limit: atoi(r.text(2))})
	case "no_runner":
		return job.Session{}, fmt.Errorf("%s: %w", op, job.ErrNoRunner)
	case "full":
		return job.Session{}, fmt.Errorf("%s: %w", op, sessionsFull(r))
	case "bytes":
		return job.Session{}, fmt.Errorf("%s: %w", op, bytesFull(r))
	case "takes":
		return job.Session{}, fmt.Errorf("%s: %w", op, takesFull(r))
	}
	se.Owner, se.State, se.CreatedAt, se.Runner, se.Runtime = n.Caller, job.SessionIdle, parseMillis(r.text(1)), r.text(2), r.text(3)
	se.LastUsed, se.Quota = se.CreatedAt, n.Spec.Quota
	se.EndsAt, se.ExpiresAt = parseMillis(r.text(4)), parseMillis(r.text(5))
	return se, nil
}

// sessionsFull reads the scripts' answer that there is no room.
func sessionsFull(r reply) *job.SessionsFullError {
	return &job.SessionsFullError{OfCaller: r.text(1) == "caller", Limit: atoi(r.text(2)), Used: atoi(r.text(3)), OfKey: r.text(4) == "key"}
}

// takesFull reads the scripts' answer that a caller's sessions could take too much.
func takesFull(r reply) *job.SessionRoomError {
	return &job.SessionRoomError{Disk: r.text(1) == "disk", Used: atoi(r.text(2)), Allowed: atoi(r.text(3)), More: atoi(r.text(4)), OfKey: r.text(5) == "key"}
}

// ForkSession records forks of a session on its runner, which has room for so many sessions. Its
// caller may have no more than own because of its key. job.ErrTooManySessions: there is no room for all of them, and none was recorded.
func (s *Store) ForkSession(ctx context.Context, id, runner string, most int, own job.SessionBounds, copies []string) error {
	const op = "fork session"
	each := make([]args, len(copies))
	for i, c := range copies {
		each[i] = args{{"fork", c}}
	}
	r, err := s.run(ctx, op, s.scripts.fork, keys{{"session", sessionKey(id)}}, args{
		{"runner", runner},
		{"most", most},
		{"most_own", own.MostOwn},
		{"own_memory", own.OwnMemory},
		{"own_disk", own.OwnDisk},
	}, each...)
	if err != nil {
		return aboutSession(id, err)
	}
	switch r.word() {
	case "full":
		return fmt.Errorf("%s: %w", op, sessionsFull(r))
	case "bytes":
		return fmt.Errorf("%s: %w", op, bytesFull(r))
	case "takes":
		return fmt.Errorf("%s: %w", op, takesFull(r))
	}
	return nil
}

// MoveSession moves a session that has no interpreter yet to one of the candidates, where its
// claimed execution comes first. It reports whether one had room. job.ErrStale: the claim is
// lost.
func (s *Store) MoveSession(ctx context.Context, c job.Claim, candidates []job.Candidate) (bool, error) {
	each := make([]args, len(candidates))
	for i, o := range candidates {
		each[i] = args{{"runner", o.Runner}, {"most", o.Most}}
	}
	r, err := s.run(ctx, "move session", s.scripts.move, keys{{"session", sessionKey(c.SessionID)}},
		args{{"session", c.SessionID}, {"runner", c.Runner}, {"job", c.JobID}, {"attempt", c.Attempt}}, each...)
	return r.word() == "moved", err
}

// CloseSession ends a session that the viewer may see. job.ErrNoSession, job.ErrSessionEnded: there is
// none to end.
func (s *Store) CloseSession(ctx context.Context, id string, v job.Viewer, end job.SessionEnd) error {
	if v.All {
		return s.EndSession(ctx, id, end)
	}
	return s.endSession(ctx, id, cmp.Or(v.Caller, anonymous), end)
}

// EndSession ends a session of any caller.
func (s *Store) EndSession(ctx context.Context, id string, end job.SessionEnd) error {
	return s.endSession(ctx, id, "", end)
}

func (s *Store) endSession(ctx context.Context, id, caller string, end job.SessionEnd) error {
	_, err := s.run(ctx, "close session", s.scripts.close, keys{{"session", sessionKey(id)}}, args{
		{"id", id}, {"caller", caller}, {"reason", string(end.Reason)}, {"message", end.Message}, s.tombstone(),
	})
	return aboutSession(id, err)
}

// InterruptSession requests the end of the running execution of a lane of a caller's session. It returns
// the id of that job; empty if none runs.
func (s *Store) InterruptSession(ctx context.Context, id, caller, lane string) (string, error) {
	r, err := s.run(ctx, "interrupt session", s.scripts.interrupt, keys{{"session", sessionKey(id)}},
		args{{"session", id}, {"caller", cmp.Or(caller, anonymous)}, {"lane", lane}})
	return r.text(1), aboutSession(id, err)
}

// NextInSession claims the next execution of a lane of a session for its runner. If the runner has no
// interpreter for it, the claim has the settings for one. It is nil if there is no execution.
// job.ErrSessionEnded: the session has ended, or lives elsewhere.
func (s *Store) NextInSession(ctx context.Context, session, lane, runner string, attached bool) (*job.Claim, error) {
	const op = "claim in session"
	r, err := s.run(ctx, op, s.scripts.next, keys{{"session", sessionKey(session)}, {"runner", runnerKey(runner)}},
		args{{"session", session}, {"runner", runner}, {"attached", mark(attached)}, {"lane", lane}})
	if err != nil {
		return nil, err
	}
	switch r.word() {
	case "none":
		return nil, nil //nolint:nilnil // nil without an error is in the contract
	case "ended":
		return nil, fmt.Errorf("%s: %w", op, job.ErrSessionEnded)
	case "unregistered":
		return nil, fmt.Errorf("%s: %w", op, job.ErrUnregistered)
	}
	return sessionClaim(r, session, lane, runner)
}

// sessionClaim reads the scripts' answer about a claim.
func sessionClaim(r reply, session, lane, runner string) (*job.Claim, error) {
	c := &job.Claim{
		JobID: r.text(1), Runner: runner, SessionID: session, Lane: lane, InSession: true, Attempt: int(atoi(r.text(2))),
		Waited: time.Duration(atoi(r.text(3))) * time.Millisecond, Queue: r.text(4), Events: r.text(7) != "",
	}
	if err := json.Unmarshal([]byte(r.text(5)), &c.Spec); err != nil {
		return nil, fmt.Errorf("claim in session: decode spec: %w", err)
	}
	if spec := r.text(6); spec != "" {
		if err := json.Unmarshal([]byte(spec), &c.Session); err != nil {
			return nil, fmt.Errorf("claim in session: decode session: %w", err)
		}
		c.Session.Owner = ownerOf(r.text(8))
	}
	return c, nil
}

// FinishInSession records the end of a session's claim, as Finish does, and claims the next execution
// of its lane; nil if there is none. ask reports that there may be one, which NextInSession
// has to claim.
func (s *Store) FinishInSession(ctx context.Context, c job.Claim, o job.Outcome) (next *job.Claim, ask bool, err error) {
	r, err := s.finish(ctx, c, o, c.SessionID)
	if err != nil {
		return nil, false, err
	}
	switch r.text(1) {
	case "claimed":
		next, err = sessionClaim(r[1:], c.SessionID, c.Lane, c.Runner)
		return next, false, err
	case "none":
		return nil, false, nil
	}
	return nil, true, nil // the end was written before
}

// SessionsOf returns the sessions of a runner, and those of their lanes that have an unclaimed
// execution. It also ends overdue sessions, and has those paused that are to be at their end. Without sessions it is one command.
func (s *Store) SessionsOf(ctx context.Context, runner string) (all []string, ready []job.ReadyLane, err error) {
	const op = "look after sessions"
	if some, err := s.exists(ctx, op, sessionsKey); err != nil || !some {
		return nil, nil, err
	}
	v, err := s.call(ctx, s.scripts.sessions, keys{{"sessions", sessionsKey}},
		args{{"runner", runner}, {"most", overdueMost}, s.tombstone()}).Slice()
	if err != nil {
		return nil, nil, wrap(op, err)
	}
	r := reply(v)
	lanes, ends := int(atoi(r.text(0))), int(atoi(r.text(1)))
	r = r[2:]
	for i := range lanes {
		id, lane, _ := strings.Cut(r.text(i), " ")
		ready = append(ready, job.ReadyLane{Session: id, Lane: lane})
	}
	for i := lanes; i < lanes+ends; i += 3 {
		if err := s.pauseAtEnd(ctx, r.text(i), r.text(i+1), r.text(i+2)); err != nil {
			return nil, nil, err
		}
	}
	for i := lanes + ends; i < len(r); i++ {
		all = append(all, r.text(i))
	}
	return all, ready, nil
}

// overdueMost bounds the sessions that one script ends.
const overdueMost = 100

// LeaveSessions ends all sessions of a runner that is being shut down. With letEnd, running
// executions may come to their end.
func (s *Store) LeaveSessions(ctx context.Context, runner string, letEnd bool) (int, error) {
	end := job.EndOfDrain()
	n, err := s.call(ctx, s.scripts.leave, keys{{"sessions", runnerKey(runner) + ":sessions"}},
		args{{"let_end", mark(letEnd)}, {"reason", string(end.Reason)}, {"message", end.Message}, s.tombstone()}).Int()
	return n, wrap("end sessions", err)
}

func sessionFields() []string {
	return []string{
		"state", "caller", "runner", "runtime", "created_at", "last_used", "idle_timeout", "max_age", "metadata", "reason", "message", "ended_at", "forked_from", "restarts", "ends_at", "name", "workdir", "home", "aside", "paused_at", "pause_until", "resumes",
		"volume", "volume_saved_at", "volume_bytes", "volume_error", "volume_error_at", "volume_skipped",
		"resumed_at", "at_end",
	}
}

// Session returns a session that the viewer may see, also one that has ended some time ago.
func (s *Store) Session(ctx context.Context, id string, v job.Viewer) (job.Session, error) {
	const op = "get session"
	all, err := s.readSessions(ctx, []string{id}, "spec")
	if err != nil {
		return job.Session{}, wrap(op, err)
	}
	if len(all) == 0 || !v.Owns(ownerOf(all[0].caller)) {
		return job.Session{}, fmt.Errorf("%s: %w", op, job.ErrNoSession)
	}
	return all[0].Session, nil
}

// quotaOf reads the limits of a spec; a record of an ended session may have lost it.
func quotaOf(spec string) job.Quota {
	var s struct{ Quota job.Quota }
	_ = json.Unmarshal([]byte(spec), &s) //nolint:errchkjson // see above
	return s.Quota
}

// ownedSession is a session with its owner.
type ownedSession struct {
	job.Session
	caller string
}

// readSessions returns those of the sessions that exist. more is "spec" where their limits are wanted, too: a spec can be large.
func (s *Store) readSessions(ctx context.Context, ids []string, more ...string) ([]ownedSession, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	type cmds struct {
		record  *redis.SliceCmd
		waiting *redis.IntCmd
		due     *redis.FloatCmd
	}
	sent, fields := make([]cmds, len(ids)), append(sessionFields(), more...)
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			sent[i] = cmds{p.HMGet(ctx, sessionKey(id), fields...), p.ZCard(ctx, sessionKey(id)+":jobs"), p.ZScore(ctx, sessionsKey, id)}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	var all []ownedSession
	for i, id := range ids {
		f := reply(sent[i].record.Val())
		if f.text(0) == "" {
			continue
		}
		se := job.Session{
			ID: id, Owner: ownerOf(f.text(1)), State: job.SessionState(f.text(0)), Runner: f.text(2), Runtime: f.text(3),
			CreatedAt: parseMillis(f.text(4)), LastUsed: parseMillis(f.text(5)),
			IdleTimeout: time.Duration(atoi(f.text(6))) * time.Millisecond, MaxAge: time.Duration(atoi(f.text(7))) * time.Millisecond,
			Waiting: int(sent[i].waiting.Val() + atoi(f.text(18))), Reason: job.EndReason(f.text(9)), Message: f.text(10), EndedAt: parseMillis(f.text(11)), ForkedFrom: f.text(12),
			Restarts: int(atoi(f.text(13))), EndsAt: parseMillis(f.text(14)), Name: f.text(15), Workdir: f.text(16), Home: f.text(17),
			PausedAt: parseMillis(f.text(19)), PausedUntil: parseMillis(f.text(20)), AutoResume: f.text(21) != "",
			Persist:   job.Persistence{Volume: f.text(22), SavedAt: parseMillis(f.text(23)), Bytes: atoi(f.text(24)), Error: f.text(25), ErrorAt: parseMillis(f.text(26)), Skipped: int(atoi(f.text(27)))},
			ResumedAt: parseMillis(f.text(28)), AtEnd: decodedPause(f.text(29)),
		}
		if len(more) > 0 {
			se.Quota = quotaOf(f.text(len(fields) - 1))
		}
		if due := int64(sent[i].due.Val()); due > 0 {
			se.ExpiresAt = time.UnixMilli(due).UTC()
		}
		if m := f.text(8); m != "" {
			se.Metadata = json.RawMessage(m)
		}
		all = append(all, ownedSession{se, f.text(1)})
	}
	return all, nil
}

// CountSessions counts the live sessions by state.
func (s *Store) CountSessions(ctx context.Context) (map[job.SessionState]int64, error) {
	var all, busy, paused *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		all, busy, paused = p.ZCard(ctx, sessionsKey), p.SCard(ctx, sessionsKey+":busy"), p.SCard(ctx, sessionsKey+":paused")
		return nil
	})
	if err != nil {
		return nil, wrap("count sessions", err)
	}
	return map[job.SessionState]int64{job.SessionIdle: max(0, all.Val()-busy.Val()-paused.Val()), job.SessionBusy: busy.Val(), job.SessionPaused: paused.Val()}, nil
}
