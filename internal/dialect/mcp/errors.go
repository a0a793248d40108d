package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// keyWords says why a key is not accepted.
func keyWords(err error) string {
	token := (*service.TokenError)(nil)
	switch {
	case errors.As(err, &token):
		return token.Reason
	case errors.Is(err, service.ErrDamagedKey):
		return "the API key is incomplete or mistyped: its checksum does not fit; copy it again"
	case errors.Is(err, service.ErrExpiredKey):
		return "the API key or token has expired; use a newer one"
	}
	return "send a valid API key as Authorization: Bearer <key>"
}

// words names the mistake to a model, and the change that it needs. It is empty for an error that is unforeseen: its text may name hosts or
// paths.
func words(err error) string {
	if text := mistake(err); text != "" {
		return text
	}
	if text := sessionWords(err); text != "" {
		return text
	}
	if text := boundWords(err); text != "" {
		return text
	}
	switch {
	case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrNoFile):
		return "there is no such job or file; check the id and the path"
	case errors.Is(err, job.ErrGone):
		return "the result has expired; run the code again"
	case errors.Is(err, service.ErrNoRunner), errors.Is(err, service.ErrNoSlot), errors.Is(err, job.ErrNoRunner):
		return "no runner had room for it in time, so it did not run; try again later"
	case errors.Is(err, service.ErrPaused):
		return "the operator has paused the queue, so it did not run; try again later"
	case errors.Is(err, service.ErrStopping), errors.Is(err, service.ErrStarting):
		return "this Kaa is stopping or starting; try again in some seconds"
	case errors.Is(err, service.ErrFileStore), errors.Is(err, job.ErrUnavailable):
		return "a part of Kaa does not answer at the moment; try again in some seconds"
	case errors.Is(err, job.ErrStoreFull), errors.Is(err, job.ErrNoMemory):
		return "this Kaa has no room for more results at the moment; try again later"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not end in time, so it was cancelled; do less in one call, or set timeout"
	}
	return ""
}

// mistake words what the caller has to change.
func mistake(err error) string {
	invalid, runtime, scope, read := (*job.ValidationError)(nil), (*job.RuntimeError)(nil), (*service.ScopeError)(nil), (*argumentError)(nil)
	switch {
	case errors.As(err, &read):
		return read.text
	case errors.As(err, &invalid):
		texts := make([]string, len(invalid.Fields))
		for i, f := range invalid.Fields {
			texts[i] = f.Field + ": " + f.Message
		}
		return strings.Join(texts, "; ")
	case errors.As(err, &runtime):
		return runtime.Error()
	case errors.As(err, &scope):
		return fmt.Sprintf("the API key lacks the scope %s; a person has to configure a key that has it", scope.Need)
	}
	return ""
}

// sessionWords words what is the matter with a session or an operation on it.
func sessionWords(err error) string {
	ended, end := (*job.SessionEndedError)(nil), (*service.EndError)(nil)
	switch {
	case errors.As(err, &ended):
		return "the session has ended: " + ended.Message + "; its variables and files are gone, so call run_code with a new name and do the work again"
	case errors.As(err, &end):
		text := end.Error()
		if f := end.Job.Failure; f != nil && f.Code == job.FailSessionEnded {
			text = "the session has ended: " + f.Message + "; its variables and files are gone, so call run_code with a new name and do the work again"
		}
		return text
	case errors.Is(err, job.ErrNoSession):
		return "there is no such session; list_sessions shows those that live, and run_code opens one with a name"
	case errors.Is(err, job.ErrSessionPaused):
		return "the session is paused; a person has to resume it"
	case errors.Is(err, service.ErrSessionBusy):
		return "the session was busy with earlier calls for too long, so this one did not run; wait, or use another session"
	case errors.Is(err, job.ErrOldRunner):
		return "the session lives on a runner of an older release, which cannot do this; open a new session"
	}
	return ""
}

// boundWords words a bound that is reached.
func boundWords(err error) string {
	body, busy, rate, full := (*service.BodyError)(nil), (*service.BusyError)(nil), (*service.RateError)(nil), (*job.FullError)(nil)
	files, lanes, room, sessions := (*job.FilesFullError)(nil), (*job.LanesError)(nil), (*job.SessionRoomError)(nil), (*job.SessionsFullError)(nil)
	switch {
	case errors.As(err, &body) && body.Fault == service.BodyTooLarge:
		return fmt.Sprintf("the message is larger than %d bytes; send less, or write a large file in parts", body.Limit)
	case errors.As(err, &rate):
		return fmt.Sprintf("the API key sends more requests than it may; wait %s, then try again", max(rate.After, time.Second).Round(time.Second))
	case errors.As(err, &busy):
		return "too many calls of this API key are under way at once; wait until some have ended"
	case errors.Is(err, service.ErrKeyBusy):
		return "other jobs of this API key ran for so long that this one did not; try again when some of them have ended"
	case errors.As(err, &full):
		return fmt.Sprintf("the API key has reached a limit (%d of %d); wait until jobs have run or results have expired", full.Depth, full.Limit)
	case errors.As(err, &files):
		return files.Error() + "; " + files.Advice()
	case errors.As(err, &lanes):
		return fmt.Sprintf("the session does %d things at once, the limit is %d; wait until some have ended", lanes.Busy, lanes.Limit)
	case errors.As(err, &room):
		return room.Error() + "; end a session that is not needed any more (list_sessions, end_session)"
	case errors.As(err, &sessions), errors.Is(err, job.ErrTooManySessions):
		return "there are as many sessions as may be; end one that is not needed any more (list_sessions, end_session), or use run_code_fresh"
	}
	return ""
}
