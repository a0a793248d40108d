package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// messagesTTL is how long messages outlive the last one, if the runner does not take them.
	messagesTTL = 24 * time.Hour
	// messagesAtOnce is how many a runner reads at once.
	messagesAtOnce = 100
)

func commandMessagesKey(id string) string { return prefix + "job:" + id + ":messages" }

// The kinds of messages.
const (
	messageData   = "data"
	messageEOF    = "eof"
	messageSignal = "signal"
	messageSize   = "size"
	messageAttach = "attach"
)

// TellCommand sends a message to a running command of a caller's session. Messages reach the command once, and in their
// order.
func (s *Store) TellCommand(ctx context.Context, session, caller, id string, m job.CommandMessage) error {
	const op = "tell command"
	nonce, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	kind, data := messageData, string(m.Data)
	switch {
	case m.EOF:
		kind = messageEOF
	case m.Signal != "":
		kind, data = messageSignal, m.Signal
	case m.Attach != "":
		kind, data = messageAttach, m.Attach
	case m.Size != nil:
		kind, data = messageSize, fmt.Sprintf(`{"columns":%d,"rows":%d}`, m.Size.Columns, m.Size.Rows)
	}
	r, err := s.run(ctx, op, s.scripts.tellCommand, keys{{"job", jobKey(id)}, {"messages", commandMessagesKey(id)}}, args{
		{"id", id},
		{"session", session},
		{"caller", cmp.Or(caller, anonymous)},
		{"nonce", nonce.String()},
		{"kind", kind},
		{"data", data},
		{"cost", len(data) + job.CommandMessageCost},
		{"most", job.MaxCommandWaiting},
		{"ttl", messagesTTL.Milliseconds()},
	})
	if err != nil {
		return err
	}
	switch r.word() {
	case "ended":
		return fmt.Errorf("%s: %w", op, job.ErrCommandEnded)
	case "input_ended":
		return fmt.Errorf("%s: %w", op, job.ErrInputEnded)
	case "full":
		return fmt.Errorf("%s: %w", op, job.ErrInputFull)
	}
	if m.Size != nil { // the caller may know now that there is such a command
		return s.checkTerminal(ctx, op, id)
	}
	return nil
}

// checkTerminal fails with job.ErrNoTerminal if a command has pipes.
func (s *Store) checkTerminal(ctx context.Context, op, id string) error {
	text, err := s.rdb.HGet(ctx, jobKey(id), "spec").Bytes()
	if errors.Is(err, redis.Nil) { // it has ended meanwhile
		return nil
	}
	if err != nil {
		return wrap(op, err)
	}
	var spec job.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return fmt.Errorf("%s: decode: %w", op, err)
	}
	if spec.Command != nil && spec.Command.Terminal == nil {
		return fmt.Errorf("%s: %w", op, job.ErrNoTerminal)
	}
	return nil
}

// CommandMessages returns messages to a command, in their order, that came after the one with an id; empty for all.
func (s *Store) CommandMessages(ctx context.Context, id, after string) ([]job.StoredMessage, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	entries, err := s.rdb.XRangeN(ctx, commandMessagesKey(id), from, "+", messagesAtOnce).Result()
	if err != nil {
		return nil, wrap("read messages to a command", err)
	}
	all := make([]job.StoredMessage, 0, len(entries))
	for _, e := range entries {
		m, err := messageOf(e)
		if err != nil {
			return nil, fmt.Errorf("read messages to a command: %w", err)
		}
		all = append(all, m)
	}
	return all, nil
}

func messageOf(e redis.XMessage) (job.StoredMessage, error) {
	kind, _ := e.Values["kind"].(string)
	data, _ := e.Values["data"].(string)
	m := job.StoredMessage{ID: e.ID}
	switch kind {
	case messageData:
		m.Data = []byte(data)
	case messageEOF:
		m.EOF = true
	case messageSignal:
		m.Signal = data
	case messageAttach:
		m.Attach = data
	case messageSize:
		m.Size = new(job.TerminalSize)
		if err := json.Unmarshal([]byte(data), m.Size); err != nil {
			return m, fmt.Errorf("decode size: %w", err)
		}
	}
	return m, nil
}

// TookMessages removes messages that a command has taken.
func (s *Store) TookMessages(ctx context.Context, id string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	each := make([]args, len(ids))
	for i, m := range ids {
		each[i] = args{{"id", m}}
	}
	err := s.call(ctx, s.scripts.tookCommand, keys{{"job", jobKey(id)}, {"messages", commandMessagesKey(id)}}, nil, each...).Err()
	return wrap("remove messages to a command", err)
}

// CommandStarted records the process id of a claim's command. job.ErrStale: the claim is lost, or the command has ended.
func (s *Store) CommandStarted(ctx context.Context, c job.Claim, pid int) error {
	_, err := s.run(ctx, "record the process of a command", s.scripts.started, keys{{"job", jobKey(c.JobID)}}, args{
		{"id", c.JobID}, {"attempt", c.Attempt}, {"runner", c.Runner}, {"pid", pid},
	})
	return err
}

// CommandsOf returns the ids of the commands of a session that wait or run.
func (s *Store) CommandsOf(ctx context.Context, session string) ([]string, error) {
	lanes, err := s.rdb.HKeys(ctx, sessionKey(session)+":lanes").Result()
	if err != nil {
		return nil, wrap("list commands of a session", err)
	}
	var ids []string
	for _, lane := range lanes {
		if id, beside := strings.CutPrefix(lane, job.LaneBeside); beside {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
