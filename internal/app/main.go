// Package app wires Kaa's parts into its three processes: the API, the runner, and `kaa dev`, which
// is both with an embedded Redis. Each process has the same sequence: read the configuration, make
// the parts, run until the context ends, then drain in named stages. Package app is the only one
// that imports all others. It contains none of their logic.
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
)

// Main runs a server command and returns its exit code. The command has at most one argument:
// healthcheck asks the process that runs with the same configuration whether it is ready; version
// and help print a text.
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
			p.logEnd(ctx, name, err)
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

// logEnd writes the error that ends the process to the log, in the log's format, so that it reaches
// the operator's log collection. Each mistake of a wrong configuration is a line of its own.
func (p Process) logEnd(ctx context.Context, name string, err error) {
	cfg, _ := config.Load(p.Environ) // settings that could be read apply, such as the log's format
	log := newLog(cfg, p.Stderr).With(slog.String("process", name))
	if wrong, ok := errors.AsType[*configError](err); ok {
		for problem := range strings.SplitSeq(wrong.Unwrap().Error(), "\n") {
			log.ErrorContext(ctx, "the configuration is wrong", slog.String("problem", problem))
		}
		return
	}
	log.ErrorContext(ctx, "the process ends with an error", slog.Any("err", err))
}

// configError is a configuration that no process can start with.
type configError struct{ problems error }

func (e *configError) Error() string { return "configuration:\n" + e.problems.Error() }
func (e *configError) Unwrap() error { return e.problems }

// signals handles SIGTERM, SIGINT and SIGHUP. The first signal ends the context, which starts the
// drain. A second SIGTERM or SIGINT closes hurry, and a third ends the process at once. SIGHUP does
// not shorten the drain: a terminal sends it when it is closed, often twice, unless the process was
// started to ignore it (nohup).
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

// NotifyHangup makes SIGHUP arrive at c, unless this process was started to ignore it.
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

// ShareProcessors limits the Go code of this process to half of the processors, rounded up, unless
// GOMAXPROCS is set; undo takes the limit back. It is for processes that have interpreters. With
// all processors, Go wakes threads without work more than thirty times for each execution, and each
// of them takes a processor from an interpreter. Until undo, Go does not follow changes of the
// processors or of a cgroup limit.
func ShareProcessors() (undo func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	runtime.GOMAXPROCS((runtime.GOMAXPROCS(0) + 1) / 2)
	return runtime.SetDefaultGOMAXPROCS // follows the limit of a cgroup, which a number would not
}
