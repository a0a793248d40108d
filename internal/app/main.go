// Package app wires Kaa's parts into its three processes: the API, the runner,
// and `kaa dev`, which is both with an embedded Redis. Each is the same sequence:
// configuration, parts, run until the context ends, then a drain in named stages.
// It is the only package that sees all others; it holds no logic of theirs.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/service"
)

// Process is the outside of a process: what tests replace.
type Process struct {
	Environ config.Environment
	Stdout  io.Writer
	Stderr  io.Writer // the log
	// Buckets opens a bucket of an S3-compatible store for files; nil if the binary has no
	// client for one.
	Buckets blob.Opener
	// Redis starts one inside this process, with its files in dir, and returns its address and
	// what ends it; nil if the binary has none. RunDev and RunFile use it where KAA_REDIS_URL is not set.
	Redis func(dir string) (url string, stop func(), err error)
	// Ready, if not nil, is called once the process does its work, with the
	// address at which it answers HTTP, if any.
	Ready func(net.Addr)
	// Listening, if not nil, is called as soon as the process answers whether it lives, with the
	// address.
	Listening func(net.Addr)
	// Hurry, once closed, ends a drain's patience: executions are ended and callers cut
	// off at once. What has to be written still is.
	Hurry <-chan struct{}
	// Dialects are protocols besides Kaa's own.
	Dialects []Dialect
	// Periods of zero are those that docs/operations.md promises.
	Periods Periods
}

// Dialect is a protocol that an API process speaks at a path and at all below it.
type Dialect struct {
	Path string
	New  func(*service.Service) door.Dialect
}

// Periods are the times by which the processes notice each other's ends.
type Periods struct {
	runner.Periods
	Lease time.Duration // of a runner without a heartbeat, and of an API that is silent: 8 s
}

func (p Process) ready(a net.Addr) {
	if p.Ready != nil {
		p.Ready(a)
	}
}

func (p Process) listening(a net.Addr) {
	if p.Listening != nil && a != nil {
		p.Listening(a)
	}
}

// Main runs a server command and returns its exit code. Its only argument may be
// healthcheck, which asks the process that runs with the same configuration
// whether it is ready, or what asks for the version or for help.
func Main(name string, run func(context.Context, Process) error, healthAddr func(config.Config) string, buckets blob.Opener) int {
	ctx, hurry, stop := signals(context.Background())
	defer stop()
	p := Process{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Buckets: buckets, Hurry: hurry}
	return command(ctx, p, name, os.Args[1:], run, healthAddr)
}

func command(ctx context.Context, p Process, name string, args []string, run func(context.Context, Process) error, healthAddr func(config.Config) string) int {
	say := func(w io.Writer, text string) { _, _ = fmt.Fprintln(w, text) }
	asked := ""
	if len(args) > 0 {
		asked = args[0]
	}
	switch {
	case len(args) == 0:
		if err := run(ctx, p); err != nil {
			p.lastWords(ctx, name, err)
			return 1
		}
		return 0
	case len(args) > 1:
	case asked == "healthcheck":
		if err := healthcheck(ctx, p.Environ, healthAddr); err != nil {
			say(p.Stderr, name+": "+err.Error())
			return 1
		}
		return 0
	case slices.Contains([]string{"version", "--version", "-version", "-v"}, asked):
		say(p.Stdout, ThisBuild().Describe(name))
		return 0
	case slices.Contains([]string{"help", "--help", "-help", "-h"}, asked):
		say(p.Stdout, usage(name))
		return 0
	}
	say(p.Stderr, usage(name))
	return 2
}

func usage(name string) string {
	return fmt.Sprintf(`usage: %[1]s [healthcheck | version | help]

Without an argument, %[1]s runs until SIGTERM, SIGINT or SIGHUP, and then drains.
  healthcheck  ask the %[1]s that runs with this configuration whether it is ready
  version      say what this binary was built from (also --version)
  help         this text (also --help)

It is configured by environment variables: see docs/configuration.md.`, name)
}

// lastWords puts what ends the process into the log, in its format: whoever collects that
// has to see it. Of a wrong configuration each mistake is a line.
func (p Process) lastWords(ctx context.Context, name string, err error) {
	cfg, _ := config.Load(p.Environ) // what could be read of it says how to log
	log := newLog(cfg, p.Stderr).With(slog.String("process", name))
	if wrong, ok := errors.AsType[*configError](err); ok {
		for problem := range strings.SplitSeq(wrong.Unwrap().Error(), "\n") {
			log.ErrorContext(ctx, "the configuration is wrong", slog.String("problem", problem))
		}
		return
	}
	log.ErrorContext(ctx, "the process ends with an error", slog.Any("err", err))
}

// configError is a configuration that nothing can be started with.
type configError struct{ problems error }

func (e *configError) Error() string { return "configuration:\n" + e.problems.Error() }
func (e *configError) Unwrap() error { return e.problems }

// signals says what SIGTERM, SIGINT and SIGHUP mean: the first ends the context, which starts
// the drain, the second closes hurry, and a third ends the process where it stands. The end of a
// terminal sends SIGHUP, often twice, to those who did not ask for it to be ignored (nohup):
// nobody is in a hurry then.
func signals(parent context.Context) (ctx context.Context, hurry <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	received, hangup := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	NotifyHangup(hangup)
	hurried, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		var first os.Signal
		select {
		case first = <-received:
		case first = <-hangup:
		case <-stopped:
			return
		}
		cancel(signalled{first})
		select {
		case <-received:
			close(hurried)
		case <-stopped:
			return
		}
		signal.Stop(received)
	}()
	return ctx, hurried, func() {
		signal.Stop(received)
		close(stopped)
		cancel(nil)
	}
}

// signalled is why a context ends: somebody sent a signal.
type signalled struct{ signal os.Signal }

func (s signalled) Error() string { return "signal: " + s.signal.String() }

// NotifyHangup has SIGHUP sent to c, unless whoever started this process had it ignored.
func NotifyHangup(c chan<- os.Signal) {
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(c, syscall.SIGHUP)
	}
}

// healthcheck asks a process on this machine whether it is ready.
func healthcheck(ctx context.Context, environ config.Environment, healthAddr func(config.Config) string) error {
	cfg, err := config.Load(environ)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	addr := healthAddr(cfg)
	if addr == "" {
		return errors.New("the process has no health address; set KAA_RUNNER_ADDR")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("health address: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}

// ShareProcessors keeps the Go code of this process to half of the processors, rounded up,
// unless GOMAXPROCS is set; undo takes it back. It is for processes that have interpreters:
// with all of the processors Go wakes threads for which there is no work, more than thirty
// times for each execution, and each time an interpreter has to make room. Until undo, Go does
// not follow changes of the processors or of a cgroup limit.
func ShareProcessors() (undo func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	runtime.GOMAXPROCS((runtime.GOMAXPROCS(0) + 1) / 2)
	return runtime.SetDefaultGOMAXPROCS // which follows the limit of a cgroup; a number would stay
}
