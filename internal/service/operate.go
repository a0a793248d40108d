package service

import (
	"context"
	"errors"
	"slices"

	"github.com/kaa-run/kaa/internal/job"
)

// Errors of an operator's requests.
var (
	// ErrNoQueue: the queue is none of the configuration, and has had no job.
	ErrNoQueue = errors.New("no queue has this name")
	// ErrNoSuchRunner: no live runner has the id.
	ErrNoSuchRunner = errors.New("no live runner has this id")
)

// PauseQueue lets no further job of a queue begin, or, with resume, lets them begin again. Those that
// run end as usual.
func (s *Service) PauseQueue(ctx context.Context, c Caller, name string, resume bool) (job.QueueStats, error) {
	if err := s.mayOperate(c); err != nil {
		return job.QueueStats{}, err
	}
	if err := s.knownQueue(ctx, c, name); err != nil {
		return job.QueueStats{}, err
	}
	// The records first: claims are refused by them, and the lists only keep runners from trying.
	mark, lists := s.cfg.Operations.PauseQueue, s.cfg.Lists.Pause
	if resume {
		mark, lists = s.cfg.Operations.UnpauseQueue, s.cfg.Lists.Resume
	}
	err := mark(ctx, name)
	if err == nil && name != job.SessionQueue {
		err = lists(ctx, name)
	}
	if err != nil {
		return job.QueueStats{}, err
	}
	all, err := s.Queues(ctx, c)
	if i := slices.IndexFunc(all, func(q job.QueueStats) bool { return q.Name == name }); i >= 0 {
		return all[i], nil
	}
	return job.QueueStats{Name: name, Paused: !resume}, err
}

// knownQueue returns ErrNoQueue for a name that no queue has.
func (s *Service) knownQueue(ctx context.Context, c Caller, name string) error {
	if name == job.SessionQueue || slices.Contains(s.cfg.Limits.Queues, name) {
		return nil
	}
	all, err := s.cfg.Fleet.Queues(ctx, s.cfg.Limits.Queues, c.viewer())
	if err == nil && !slices.ContainsFunc(all, func(q job.QueueStats) bool { return q.Name == name }) {
		err = ErrNoQueue
	}
	return err
}

// withPauses completes the counts of queues with their pauses: those of Kaa, and those that another
// tool of asynq has made.
func (s *Service) withPauses(ctx context.Context, all []job.QueueStats) error {
	paused, err := s.cfg.Operations.PausedQueues(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	lists, err := s.cfg.Lists.Paused(ctx, names)
	if err != nil {
		return err
	}
	for i := range all {
		since, ok := paused[all[i].Name]
		if !ok {
			since, ok = lists[all[i].Name]
		}
		if ok {
			all[i].Paused, all[i].PausedAt = true, &since
		}
	}
	return nil
}

// Tasks counts what asynq holds of a queue.
func (s *Service) Tasks(ctx context.Context, c Caller, name string) (job.TaskStats, error) {
	if err := s.mayOperate(c); err != nil {
		return job.TaskStats{}, err
	}
	if err := s.knownQueue(ctx, c, name); err != nil {
		return job.TaskStats{}, err
	}
	return s.cfg.Lists.Tasks(ctx, name)
}

// Setting is a setting with its value in force. The value of a secret one is hidden.
type Setting struct {
	Name, Value, Default string
	Secret               bool
	Changed              bool // it is not the default
}

// Settings lists the settings of this process.
func (s *Service) Settings(_ context.Context, c Caller) ([]Setting, error) {
	if err := s.mayOperate(c); err != nil {
		return nil, err
	}
	return s.cfg.Settings, nil
}

// DrainRunner lets a runner take nothing new, or, with resume, lets it take jobs again. It is notified at once,
// and says in its next heartbeat that it drains.
func (s *Service) DrainRunner(ctx context.Context, c Caller, id string, resume bool) (job.Runner, error) {
	if err := s.mayOperate(c); err != nil {
		return job.Runner{}, err
	}
	err := s.cfg.Operations.DrainRunner(ctx, id, !resume)
	if errors.Is(err, job.ErrNotFound) {
		return job.Runner{}, ErrNoSuchRunner
	}
	if err != nil {
		return job.Runner{}, err
	}
	all, err := s.cfg.Fleet.Runners(ctx)
	if err != nil {
		return job.Runner{}, err
	}
	if i := slices.IndexFunc(all, func(r job.Runner) bool { return r.ID == id }); i >= 0 {
		return all[i], nil
	}
	return job.Runner{}, ErrNoSuchRunner
}
