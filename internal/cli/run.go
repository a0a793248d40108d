// Package cli has the commands of kaa that call a Kaa, by package client. `kaa run` has a program executed, by a Kaa
// that runs or by one that it starts for that, and prints the output as it arrives. The others are for jobs, sessions, keys and
// all else of a Kaa that runs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// Exit codes of `kaa run` that are not the program's own, as timeout(1) has them.
const (
	ExitTimeout = 124
	ExitTrouble = 125 // Kaa could not execute it

	exitSignals = 128 // plus the number of the signal

	// endTime bounds the calls that end what is left.
	endTime = 10 * time.Second
)

// ExitError is the exit code that `kaa run` has to end with.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run is a program that `kaa run` executes. It prints the program's output and handles signals.
type run struct {
	p      app.Process
	client *client.Client
	leave  context.CancelFunc
	// figures is the number of figures that were shown.
	figures int
	// noInput is what to say of a program that asks for input and cannot have it; empty if its input has come to its end.
	noInput string
	// stop ends what runs; nil if that is a job.
	stop func(ctx context.Context, id string)
	// picture returns a PNG as the terminal shows it; nil if it shows none.
	picture func(png []byte) string

	mu sync.Mutex
	// ends is the first signal that asked for the end, or SIGPIPE; nil as long as none did.
	ends os.Signal
	job  string // the job's id, once it is known
}

// newRun returns a run and the context for it.
func newRun(ctx context.Context, p app.Process) (context.Context, *run) {
	ctx, leave := context.WithCancel(ctx)
	return ctx, &run{p: p, leave: leave}
}

// attend handles signals until stop is called.
func (r *run) attend(signals <-chan os.Signal) (stop func()) {
	stopped := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case s := <-signals:
				r.signalled(s)
			case <-stopped:
				return
			}
		}
	})
	return func() {
		close(stopped)
		done.Wait()
		r.leave()
	}
}

// signalled cancels the program at the first signal. At the second one, or if there is no program
// yet, it ends the run.
func (r *run) signalled(s os.Signal) {
	r.mu.Lock()
	first, id := r.ends == nil, r.job
	if first {
		r.ends = s
	}
	r.mu.Unlock()
	if !first || id == "" {
		r.leave()
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTime)
		defer cancel()
		// An error is ignored, since the program may have ended before. The last event has its end.
		if r.stop != nil {
			r.stop(ctx, id)
			return
		}
		_, _ = r.client.CancelJob(ctx, id)
	}()
}

// ended reports whether a signal has asked for the end.
func (r *run) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends != nil
}

// exit returns the error of the run: err, or the exit code of a signal that ended the run.
func (r *run) exit(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.ends.(syscall.Signal); ok {
		return ExitError(exitSignals + int(s))
	}
	return err
}

// handlers are those that print what the events have.
func (r *run) handlers() client.Handlers {
	return client.Handlers{Began: r.began, Output: r.wrote, Value: r.showed, Case: r.judged, Gap: r.missed, TooLarge: r.tooLarge}
}

func (r *run) began(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.job = jobID
}

// wrote prints output. If standard output is closed, its error ends the stream, which interrupts
// the program.
func (r *run) wrote(stream, text string) error {
	w := r.p.Stdout
	if stream == "stderr" {
		w = r.p.Stderr
	}
	_, err := io.WriteString(w, text)
	if err == nil || stream == "stderr" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends == nil && errors.Is(err, syscall.EPIPE) {
		r.ends = syscall.SIGPIPE
	}
	return fmt.Errorf("write standard output: %w", err)
}

func (r *run) showed(v client.Value) {
	figures := figuresOf([]client.Value{v})
	r.figures += len(figures)
	for _, forms := range figures {
		if r.picture != nil && forms["png"] != nil {
			_ = r.wrote("stdout", r.picture(forms["png"])) // a closed output ends the run by its signal
		}
	}
}

func (r *run) missed(bytes int64) {
	r.say("%d bytes of the output are missing here: it came faster than it could be passed on", bytes)
}

func (r *run) tooLarge(_ string, bytes int64) {
	r.say("a value of %d bytes is missing here: it is too large to be passed on while the program runs, and only the result of the job has it (--json)", bytes)
}

func (r *run) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.p.Stderr, "kaa: "+format+"\n", args...)
}

// report prints the end of a program as Python itself would have.
func (r *run) report(end client.End) error {
	if end.Failure != nil && end.Status == "" {
		return errors.New(end.Failure.Message)
	}
	if e := end.Error; e != nil {
		r.traceback(e.Name, e.Value, e.Traceback)
		if e.Name == "EOFError" && r.noInput != "" {
			r.say("%s", r.noInput)
		}
	}
	if end.CaseCounts != nil {
		return r.reportCases(end)
	}
	switch {
	case r.ended():
		// The program's exception is printed above, unless the program caught it.
	case end.State == "cancelled":
		r.say("cancelled after %s", r.took(end))
	case end.Status == "interrupted":
		r.say("interrupted after %s", r.took(end))
	}
	return r.codeOf(end)
}

// codeOf returns the exit code of a program.
func (r *run) codeOf(end client.End) error {
	switch {
	case end.CaseCounts != nil:
		return r.codeOfCases(end)
	case r.ended():
	case end.State == "cancelled":
		return ExitError(ExitTrouble)
	case end.Status == "interrupted":
		return ExitError(ExitTimeout)
	case end.ExitCode != nil && *end.ExitCode != 0:
		return ExitError(*end.ExitCode)
	case end.Status == "error":
		return ExitError(1)
	}
	return nil
}

// reportJSON prints the result of a program, and nothing else.
func (r *run) reportJSON(ctx context.Context, end client.End) error {
	if end.Failure != nil && end.Status == "" {
		return errors.New(end.Failure.Message)
	}
	j, err := r.client.GetJob(ctx, end.JobID, client.GetJobParams{})
	if err != nil {
		return err
	}
	if j.Result == nil {
		j.Result = &end.Result
	}
	return errors.Join(encode(r.p.Stdout, j.Result), r.codeOf(end))
}

// traceback prints an uncaught exception.
func (r *run) traceback(name, value, text string) {
	if text == "" {
		text = name + ": " + value
	}
	_, _ = fmt.Fprintln(r.p.Stderr, strings.TrimSuffix(text, "\n"))
}

func (r *run) took(end client.End) time.Duration {
	return time.Duration(end.DurationMs * float64(time.Millisecond)).Round(time.Millisecond)
}
