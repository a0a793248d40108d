package store

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// Messages receives the messages that scripts send to a runner. A message may be lost, so the runner also
// asks for all of it from time to time. Methods must not block.
type Messages interface {
	// Cancelled: the end of a job is requested.
	Cancelled(jobID string)
	// Watched: a caller follows a job.
	Watched(jobID string)
	// SessionReady: a lane of a session has something to execute. The runner claims it with NextInSession.
	SessionReady(id, lane string)
	// SessionClosed: a session has ended, with all that it executed.
	SessionClosed(id string)
	// SessionClosing: a session accepts no more. Its running execution may end by itself.
	SessionClosing(id string)
	// Answered: a caller has answered an execution's request for input.
	Answered(a job.Answer)
	// Replied: a caller has answered a call of an execution.
	Replied(p job.Reply)
	// CommandTold: there is a message to a command of a session. CommandMessages returns it.
	CommandTold(jobID string)
	// DrainChanged: the runner is asked to take nothing new, or to take jobs again. Drained has which.
	DrainChanged()
}

// runnerChannels and the messages have the form that earlier versions write and read, so
// that API processes and runners of both understand each other. The name is older than the
// messages that are no cancels.
const runnerChannels = prefix + "cancel:"

// tellLua has a function for each message of Messages. readMessage reads what they write. A
// further message must have a space in it: earlier runners take a bare word for a job's id.
const tellLua = `local function tell_cancelled(runner, job) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, job) end
local function tell_watched(runner, job) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'events:' .. job) end
local function tell_ready(runner, session) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'session ' .. session) end
local function tell_closed(runner, session) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'ended ' .. session) end
local function tell_closing(runner, session) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'closing ' .. session) end
local function tell_command(runner, job) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'command ' .. job) end
local function tell_drain(runner) redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'drain changed') end
local function tell_answer(runner, job, request, answer)
  redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'input ' .. job .. ' ' .. request .. ' ' .. answer)
end
local function tell_reply(runner, job, call, text)
  redis.call('PUBLISH', '` + runnerChannels + `' .. runner, 'reply ' .. job .. ' ' .. call .. ' ' .. text)
end
`

// readMessage passes one message on and reports whether it knows the kind.
func readMessage(text string, to Messages) bool {
	kind, rest, spaced := strings.Cut(text, " ")
	if !spaced {
		switch id, watched := strings.CutPrefix(text, "events:"); {
		case watched:
			to.Watched(id)
		case text != "" && !strings.Contains(text, ":"):
			to.Cancelled(text)
		default:
			return false
		}
		return true
	}
	switch kind {
	case "session":
		id, lane, _ := strings.Cut(rest, " ")
		to.SessionReady(id, lane)
	case "ended":
		to.SessionClosed(rest)
	case "closing":
		to.SessionClosing(rest)
	case "command":
		to.CommandTold(rest)
	case "drain":
		to.DrainChanged()
	case "input":
		id, rest, _ := strings.Cut(rest, " ")
		request, answer, complete := strings.Cut(rest, " ")
		if _, err := strconv.Atoi(request); err != nil || !complete {
			return false
		}
		to.Answered(answerOf(id, request, answer))
	case "reply":
		id, rest, _ := strings.Cut(rest, " ")
		call, text, complete := strings.Cut(rest, " ")
		if !complete {
			return false
		}
		to.Replied(job.Reply{JobID: id, Call: call, Text: text})
	default:
		return false
	}
	return true
}

// ListenRunner passes on the messages to a runner. Those of an unknown kind, as a later
// version may send, are logged and ignored.
func (s *Store) ListenRunner(ctx context.Context, runner string, to Messages, log *slog.Logger) (*Listener, error) {
	return s.listen(ctx, runnerChannels+runner, func(message string) {
		if !readMessage(message, to) {
			kind, _, _ := strings.Cut(message, " ") // the rest may be a caller's input
			log.WarnContext(ctx, "ignored a message to this runner of an unknown kind", slog.String("kind", kind[:min(len(kind), 32)]))
		}
	}, func() {})
}
