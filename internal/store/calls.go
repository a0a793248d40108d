package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// callsTTL outlives every execution.
const callsTTL = 48 * time.Hour

func callsKey(id string) string { return prefix + "calls:" + id }

// GiveReply answers a call of a caller's execution; session may name the session of the execution.
// job.ErrNoCall: there is no such call, or it has been answered or has ended.
func (s *Store) GiveReply(ctx context.Context, session, caller string, p job.Reply) error {
	const op = "answer call"
	nonce, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	r, err := s.run(ctx, op, s.scripts.reply, keys{{"job", jobKey(p.JobID)}}, args{
		{"id", p.JobID},
		{"session", session},
		{"caller", cmp.Or(caller, anonymous)},
		{"call", p.Call},
		{"nonce", nonce.String()},
		{"text", p.Text},
	})
	if err == nil && r.word() == "no_call" {
		err = fmt.Errorf("%s: %w", op, job.ErrNoCall)
	}
	return err
}

// Replies returns the answers to calls of executions that their runner has not taken, independent of
// messages to it.
func (s *Store) Replies(ctx context.Context, jobs []string) ([]job.Reply, error) {
	cmds := make([]*redis.MapStringStringCmd, len(jobs))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range jobs {
			cmds[i] = p.HGetAll(ctx, callsKey(id))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap("look for answers to calls", err)
	}
	var all []job.Reply
	for i, id := range jobs {
		for call, text := range cmds[i].Val() {
			if _, text, ok := strings.Cut(text, " "); ok {
				all = append(all, job.Reply{JobID: id, Call: call, Text: text})
			}
		}
	}
	return all, nil
}

// RepliesTaken drops answers that the runner of an execution has, by the ids of their calls.
func (s *Store) RepliesTaken(ctx context.Context, id string, calls []string) error {
	return wrap("drop answers to calls", s.rdb.HDel(ctx, callsKey(id), calls...).Err())
}
