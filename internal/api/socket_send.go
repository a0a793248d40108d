package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// observeEvery makes up for a wake that was lost, and keeps the lease of the observer.
const observeEvery = 5 * time.Second

// sender sends a socket's client all that its session executes, one execution after the
// other, each to its end.
type sender struct {
	*socket
	wake chan struct{}

	known  job.Observation
	looked time.Time
	jobs   []string // to be sent; the first is being sent
	outage service.Outage
}

// sessionFrame reports the end of the session itself.
type sessionFrame struct {
	Type    string           `json:"type"`
	State   job.SessionState `json:"state"`
	Reason  job.EndReason    `json:"reason"`
	Message string           `json:"message"`
}

// notify makes the sender look for accepted executions. It never blocks.
func (t *sender) notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// showAll returns when there is nothing to send any more, with the reason.
func (t *sender) showAll(ctx context.Context) error {
	var looks service.Looks
	defer looks.Stop()
	for {
		for len(t.jobs) > 0 {
			if err := t.showJob(ctx, t.jobs[0]); err != nil {
				return t.breakOff(err)
			}
			t.jobs = t.jobs[1:]
		}
		if end := t.known.End; end != nil {
			if err := t.send(sessionFrame{"session", job.SessionEnded, end.Reason, end.Message}); err != nil {
				return err
			}
			return errSessionOver
		}
		select {
		case <-t.wake:
			looks.Soon()
		case <-looks.Due():
			looks.Seldomer()
		case <-t.s.cfg.Service.Draining():
			return t.breakOff(service.ErrStopping)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := t.observe(ctx); err != nil {
			return t.breakOff(err)
		}
	}
}

// observe learns what has been accepted. A Redis that is away is an error after a while.
func (t *sender) observe(ctx context.Context) error {
	if t.known.End != nil {
		return nil
	}
	o, err := t.s.cfg.Service.Observe(ctx, t.caller, t.session, t.known)
	switch {
	case err == nil:
		t.outage.Over()
		t.learn(o)
		return nil
	case errors.Is(err, job.ErrNoSession): // Redis has lost it, or its tombstone has expired
		t.known.End = &job.SessionEnd{Reason: job.EndRunnerLost, Message: "it is not known any more"}
		return nil
	}
	t.notify()
	return t.outage.Bear(ctx, err)
}

func (t *sender) learn(o job.Observation) {
	// An execution that is learned twice has not ended, so it is still to be shown.
	known := make(map[string]bool, len(t.jobs))
	for _, id := range t.jobs {
		known[id] = true
	}
	for _, id := range o.Jobs {
		if !known[id] {
			t.jobs = append(t.jobs, id)
			known[id] = true
		}
	}
	o.Jobs = nil
	t.known, t.looked = o, time.Now()
}

// showJob sends all events of one execution.
func (t *sender) showJob(ctx context.Context, id string) error {
	own := t.own(id)
	if own.acked != nil {
		select {
		case <-own.acked:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer t.forget(id)
	f, err := t.followJob(ctx, id)
	if f == nil {
		return err
	}
	defer f.Close()
	for {
		if time.Since(t.looked) > observeEvery {
			if err := t.observe(ctx); err != nil {
				return err
			}
		}
		e, err := f.Next(ctx, observeEvery)
		switch {
		case err == nil:
			t.outage.Over()
			t.note(id, e)
			err = t.write(frameOf(e, id, own.id))
		case errors.Is(err, service.ErrOver):
			return nil
		case ctx.Err() == nil && errors.Is(err, service.ErrQuiet):
			err = nil
		case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
			return t.lost(ctx, id, own.id, err)
		default:
			err = t.outage.Bear(ctx, err)
		}
		if err != nil {
			return err
		}
	}
}

// followJob begins to follow a job; nil without an error if there is none any more.
func (t *sender) followJob(ctx context.Context, id string) (*service.Follower, error) {
	for {
		f, err := t.s.cfg.Service.FollowObserved(ctx, t.caller, id)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
			return nil, t.lost(ctx, id, t.own(id).id, err)
		}
		if err = t.outage.Bear(ctx, err); err != nil {
			return nil, err
		}
	}
}

// lost reports that the record of a job has gone.
func (t *sender) lost(ctx context.Context, id, own string, err error) error {
	e := brokenEvent(t.s.brokenBy(ctx, id, err))
	return t.write(frameOf(e, id, own))
}

// breakOff reports for each execution that has not ended that its events go on elsewhere,
// and returns the reason.
func (t *sender) breakOff(err error) error {
	if errors.Is(err, errClientGone) || errors.Is(err, context.Canceled) {
		return err
	}
	e := brokenEvent(t.s.brokenBy(context.Background(), "", err))
	for _, id := range t.unended() {
		if t.write(frameOf(e, id, t.own(id).id)) != nil {
			return errClientGone
		}
	}
	return err
}

// unended are the executions whose end has not been sent: those that are known, and those that
// this client has started.
func (t *sender) unended() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.jobs)
	for id := range t.mine {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// own is what this client has started as that job, if it has.
func (k *socket) own(jobID string) ownExecution {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mine[jobID]
}

func (k *socket) forget(jobID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.mine, jobID)
	if k.asked.JobID == jobID {
		k.asked = job.Answer{}
	}
}

// note remembers what the client is asked.
func (k *socket) note(jobID string, e job.Event) {
	if e.Type != job.EventInput {
		return
	}
	var data job.InputData
	if err := json.Unmarshal(e.Data, &data); err != nil {
		k.log.Error("request for input cannot be read", slog.String("job_id", jobID), slog.Any("err", err))
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = job.Answer{JobID: jobID, Request: data.Request}
}

// frameOf is an event with whose it is.
func frameOf(e job.Event, jobID, clientID string) []byte {
	var b bytes.Buffer
	b.WriteString(`{`)
	if !e.ID.Ends() { // that one says it by itself
		fmt.Fprintf(&b, `"jobId":%q,`, jobID)
	}
	if clientID != "" {
		text, _ := json.Marshal(clientID) // a string always can be
		fmt.Fprintf(&b, `"id":%s,`, text)
	}
	if e.ID != (job.EventID{}) {
		fmt.Fprintf(&b, `"eventId":%s,`, strconv.Quote(e.ID.String()))
	}
	b.Write(e.Data[1:])
	return b.Bytes()
}
