package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/kaa-run/kaa/client"
)

// worker sends one execution after the other.
type worker struct {
	load *load
	// sessions has its session at each target, in the modes that have some.
	sessions []string
}

// endTime bounds the end of a session.
const endTime = 10 * time.Second

// worker makes a worker, with its sessions.
func (l *load) worker(ctx context.Context) (*worker, error) {
	w := &worker{load: l}
	if l.Mode != "session" && l.Mode != "mixed" {
		return w, nil
	}
	for _, t := range l.targets {
		s, err := t.client.OpenSession(ctx, client.SessionBody{})
		if err != nil {
			w.close()
			return nil, fmt.Errorf("open a session: %w", err)
		}
		w.sessions = append(w.sessions, s.ID)
	}
	return w, nil
}

// close ends the sessions of a worker. Errors do not count, since a session ends by itself, too.
func (w *worker) close() {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	for i, id := range w.sessions {
		_, _ = w.load.targets[i].client.CloseSession(ctx, id)
	}
}

func closeAll(workers []*worker) {
	for _, w := range workers {
		if w != nil {
			w.close()
		}
	}
}

// mixture is the order of the kinds in the mode mixed: 60 % synchronous, 20 % in a session, 20 % as jobs.
func mixture() []string {
	return []string{"sync", "session", "sync", "async", "sync", "sync", "session", "sync", "async", "sync"}
}

// execute has the code executed by a target. n is the number of the execution there.
func (w *worker) execute(ctx context.Context, target int, n int64) error {
	mode := w.load.Mode
	if mode == "mixed" {
		mode = mixture()[n%int64(len(mixture()))]
	}
	c := w.load.targets[target].client
	if mode == "async" {
		return w.job(ctx, c)
	}
	body := client.ExecuteBody{Code: w.load.Code}
	if mode == "session" {
		body.SessionID = &w.sessions[target]
	}
	result, err := c.Execute(ctx, body)
	if err != nil {
		return err
	}
	return failed(&result)
}

// job submits a job and waits for its end.
func (w *worker) job(ctx context.Context, c *client.Client) error {
	j, err := c.SubmitJob(ctx, client.JobBody{Code: w.load.Code})
	if err != nil {
		return err
	}
	for j.Result == nil && j.Failure == nil {
		if j, err = c.GetJob(ctx, j.ID, client.GetJobParams{Wait: "30s"}); err != nil {
			return err
		}
		if j.State == "cancelled" && j.Result == nil {
			return errors.New("the job was cancelled")
		}
	}
	if j.Failure != nil && j.Result == nil {
		return errors.New(j.Failure.Message)
	}
	return failed(j.Result)
}

// failed returns an error for code that did not end well: its figures would say nothing.
func failed(r *client.Result) error {
	if r.Status == "ok" {
		return nil
	}
	if r.Error != nil {
		return fmt.Errorf("the code ended with %s: %s: %s", r.Status, r.Error.Name, r.Error.Value)
	}
	return fmt.Errorf("the code ended with %s", r.Status)
}

// spawn starts bare interpreters with the code, one after the other.
func (l *load) spawn(ctx context.Context, times *hdrhistogram.Histogram, count int) error {
	if l.Python == "" {
		return nil
	}
	for range count {
		began := time.Now()
		out, err := exec.CommandContext(ctx, l.Python, "-I", "-c", l.Code).CombinedOutput() //nolint:gosec // a person has named it
		if err != nil {
			return fmt.Errorf("spawn %s: %w; --python names another one, and --python '' does without\n%s", l.Python, err, out)
		}
		_ = times.RecordValue(max(1, time.Since(began).Microseconds())) // it is within the bounds
	}
	return nil
}
