package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// The files of a checker, which are also its arguments.
const (
	checkerInput    = "input"
	checkerOutput   = "output"
	checkerExpected = "expected"
)

// errOver: the time of a job with cases is over, or its context has ended.
var errOver = errors.New("the job is over")

// caseRun is an execution of a program for its cases. Each run of the program, and of a checker, has a worker of its own,
// which is closed before the next one is taken. So no process, file or memory of one run is there in the next, and a program
// never shares a sandbox with its expected output.
type caseRun struct {
	r        *Runner
	run      context.Context //nolint:containedctx // it lives as long as the call that has it
	log      *slog.Logger
	e        *execution
	spec     *job.Spec
	first    Worker    // for the first run; nil afterwards
	deadline time.Time // of all cases
	began    bool      // a program may have started
	result   job.Result
	room     job.CaseRoom
	// shown are the results so far. The tap's lock guards it, because followers come while cases run.
	shown []job.CaseResult
}

// executeCases runs the program of a claim for each of its cases. It uses w for the first run.
func (r *Runner) executeCases(run context.Context, log *slog.Logger, w Worker, e *execution) (job.Result, error) {
	started := time.Now()
	k := &caseRun{
		r: r, run: run, log: log, e: e, spec: &e.claim.Spec, first: w, deadline: started.Add(e.claim.Spec.Timeout),
		result: job.Result{SessionID: w.SessionID(), Status: job.StatusOK, ExitCode: new(0)},
	}
	e.tap.Attach(k.replay)
	err := k.all()
	switch {
	case errors.Is(err, errOver):
		k.interrupted()
	case err != nil && k.began: // the program must not start once more without another attempt
		return job.Result{}, fmt.Errorf("case %d: %s", len(k.shown)+1, err) //nolint:errorlint // see above
	case err != nil:
		return job.Result{}, err
	}
	k.result.Cases = slices.Clone(k.shown)
	for _, c := range k.spec.Cases.List[len(k.shown):] {
		k.result.Cases = append(k.result.Cases, job.CaseResult{Name: c.Name, Verdict: job.VerdictSkipped})
	}
	k.result.CountCases()
	k.result.DurationMs = float64(time.Since(started).Microseconds()) / 1000
	return k.result, nil
}

// all runs the cases until one ends the job.
func (k *caseRun) all() error {
	for i := range k.spec.Cases.List {
		out, err := k.one(i)
		if err != nil {
			return err
		}
		k.show(i, out)
		switch {
		case out.Verdict == job.VerdictInterrupted:
			return errOver
		case out.Verdict != job.VerdictAccepted && k.spec.Cases.StopAtFirstFailure:
			return nil
		}
	}
	return nil
}

// interrupted fills in the result of a job that was ended before its cases.
func (k *caseRun) interrupted() {
	k.result.Status, k.result.ExitCode = job.StatusInterrupted, nil
	k.result.Error = &job.Error{Name: "KeyboardInterrupt", Value: "cancelled"}
	if k.run.Err() == nil {
		k.result.Limit = job.LimitTimeout
		k.result.Error.Value = "timed out after " + strconv.FormatFloat(k.spec.Timeout.Seconds(), 'f', -1, 64) + " s"
	}
}

// one runs the program for the i-th case, and its checker.
func (k *caseRun) one(i int) (job.CaseResult, error) {
	c := &k.spec.Cases.List[i]
	result, late, err := k.execute(k.spec.SpecOf(i), func(w Worker) error {
		return k.r.bringSome(k.run, w, k.e.claim, func(f job.Input) bool { return f.IsOf(i) })
	})
	if err != nil {
		return job.CaseResult{}, err
	}
	checker := k.spec.Cases.CheckerOf(c)
	out := c.Judge(&result, checker != "")
	if late && result.Limit == job.LimitTimeout {
		out.Verdict = job.VerdictInterrupted
	}
	if out.Verdict == job.VerdictAccepted && checker != "" {
		if err := k.check(i, checker, &result, &out); err != nil {
			return job.CaseResult{}, err
		}
	}
	k.room.Fill(&out, &result)
	return out, nil
}

// check has a checker judge the output of a program.
func (k *caseRun) check(i int, code string, result *job.Result, out *job.CaseResult) error {
	c := &k.spec.Cases.List[i]
	spec := job.Spec{
		Code: code, Argv: []string{checkerInput, checkerOutput, checkerExpected}, Timeout: max(c.Timeout, job.MinCheckerTime),
		Runtime: k.spec.Runtime, Quota: k.spec.QuotaOf(i), KillAtTimeout: true, Trace: k.spec.Trace,
	}
	expected := ""
	if c.Expect.Stdout != nil {
		expected = *c.Expect.Stdout
	}
	ended, late, err := k.execute(spec, func(w Worker) error {
		for name, content := range map[string]string{checkerInput: c.Stdin, checkerOutput: result.Stdout, checkerExpected: expected} {
			if err := w.Put(name, strings.NewReader(content)); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errOver):
		out.Verdict = job.VerdictInterrupted
		return nil
	case err != nil:
		return fmt.Errorf("checker: %w", err)
	}
	out.Check(&ended)
	if late && ended.Limit == job.LimitTimeout {
		out.Verdict, out.Message = job.VerdictInterrupted, ""
	}
	return nil
}

// execute runs code on a worker of its own, after put has put its files there. late: its time limit was what was left of
// the job's time.
func (k *caseRun) execute(spec job.Spec, put func(Worker) error) (_ job.Result, late bool, err error) {
	for try := 0; ; try++ {
		left := time.Until(k.deadline)
		if left <= 0 || k.run.Err() != nil {
			return job.Result{}, false, errOver
		}
		if late = left < spec.Timeout; late {
			spec.Timeout = left
		}
		result, err := k.onWorker(spec, put)
		if errors.Is(err, job.ErrNotStarted) && try < replacements {
			k.log.WarnContext(k.run, "worker died before the code had started: taking another", slog.Any("err", err))
			continue
		}
		if err != nil {
			return job.Result{}, false, err
		}
		k.result.CPUMs += result.CPUMs
		k.result.PeakMemoryBytes = max(k.result.PeakMemoryBytes, result.PeakMemoryBytes)
		return result, late, nil
	}
}

// onWorker runs code on one worker, and closes that.
func (k *caseRun) onWorker(spec job.Spec, put func(Worker) error) (result job.Result, err error) {
	w, err := k.worker()
	if err != nil {
		return job.Result{}, err
	}
	defer func() {
		if closing := w.Close(); closing != nil {
			k.log.ErrorContext(k.run, "interpreter was not closed as it should", slog.Any("err", closing))
		}
	}()
	if err := put(w); err != nil {
		return job.Result{}, err
	}
	result, err = w.Execute(k.run, spec, job.Live{})
	if !errors.Is(err, job.ErrNotStarted) {
		k.began = true
	}
	return result, err
}

// worker returns the worker that the job came with, once, and then others.
func (k *caseRun) worker() (Worker, error) {
	if w := k.first; w != nil {
		k.first = nil
		return w, nil
	}
	ctx, cancel := context.WithDeadline(k.run, k.deadline)
	defer cancel()
	w, err := k.r.cfg.Workers.Acquire(ctx, k.spec.Runtime)
	if err != nil && ctx.Err() != nil {
		return nil, errOver
	}
	if err != nil {
		return nil, fmt.Errorf("acquire worker: %w", err)
	}
	return w, nil
}

// show adds the result of a case, and passes it to those who follow the job.
func (k *caseRun) show(i int, out job.CaseResult) {
	k.e.tap.Show(func() bool {
		k.shown = append(k.shown, out)
		return true
	}, func() job.Event { return job.CaseEvent(i, out) })
}

// replay gives a follower the cases so far. The tap's lock is held.
func (k *caseRun) replay(s job.Sink) {
	for i, out := range k.shown {
		e := job.CaseEvent(i, out)
		s.Event(e.Type, e.Data)
	}
}
