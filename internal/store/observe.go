package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// ObserveSession returns the executions that a caller's session accepted since the observation
// before. A zero observation returns the running and waiting ones. From the first call on, the
// events of all its executions are written.
func (s *Store) ObserveSession(ctx context.Context, id, caller string, before job.Observation) (job.Observation, error) {
	r, err := s.run(ctx, "observe session", s.scripts.observe, keys{{"session", sessionKey(id)}}, args{
		{"session", id}, {"caller", cmp.Or(caller, anonymous)}, {"lease", observeLease.Milliseconds()}, {"last", before.Last},
	})
	if err != nil {
		return job.Observation{}, err
	}
	o, jobs := job.Observation{Last: r.text(1)}, 2
	if r.word() == "over" {
		o.End, jobs = &job.SessionEnd{Reason: job.EndReason(r.text(2)), Message: r.text(3)}, 4
	}
	for i := jobs; i < len(r); i++ {
		o.Jobs = append(o.Jobs, r.text(i))
	}
	return o, nil
}

// GiveInput answers a request of an execution of a caller's session for input. job.ErrNoInput:
// there is no such request, or it has been answered.
func (s *Store) GiveInput(ctx context.Context, session, caller string, a job.Answer) error {
	const op = "give input"
	nonce, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	text := "+" + a.Text
	if a.EOF {
		text = "-"
	}
	r, err := s.run(ctx, op, s.scripts.input, keys{{"job", jobKey(a.JobID)}}, args{
		{"id", a.JobID},
		{"session", session},
		{"caller", cmp.Or(caller, anonymous)},
		{"request", a.Request},
		{"nonce", nonce.String()},
		{"text", text},
	})
	if err == nil && r.word() == "no_input" {
		err = fmt.Errorf("%s: %w", op, job.ErrNoInput)
	}
	return err
}

func answerOf(id, request, answer string) job.Answer {
	text, ok := strings.CutPrefix(answer, "+")
	if !ok {
		text = ""
	}
	return job.Answer{JobID: id, Request: int(atoi(request)), Text: text, EOF: !ok}
}

// Answers returns the last answers for executions, independent of messages to their runner.
func (s *Store) Answers(ctx context.Context, jobs []string) ([]job.Answer, error) {
	cmds := make([]*redis.StringCmd, len(jobs))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range jobs {
			cmds[i] = p.HGet(ctx, jobKey(id), "answer")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap("look for input", err)
	}
	var all []job.Answer
	for i, id := range jobs {
		request, rest, ok := strings.Cut(cmds[i].Val(), " ")
		if _, answer, _ := strings.Cut(rest, " "); ok {
			all = append(all, answerOf(id, request, answer))
		}
	}
	return all, nil
}
