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
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/runner"
)

// Process is the outside of a process: what tests replace.
type Process struct {
	Environ Environment
	Stdout  io.Writer
	Stderr  io.Writer // the log
	// Ready, if not nil, is called once the process does its work, with the
	// address at which it answers HTTP, if any.
	Ready func(net.Addr)
	// Hurry, once closed, ends a drain's patience: executions are ended and callers cut
	// off at once. What has to be written still is.
	Hurry <-chan struct{}
	// Periods of zero are those that docs/operations.md promises.
	Periods Periods
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

// Main runs a server command and returns its exit code. Its only argument may be
// healthcheck, which asks the process that runs with the same configuration
// whether it is ready.
func Main(name string, run func(context.Context, Process) error, healthAddr func(Config) string) int {
	ctx, hurry, stop := signals(context.Background())
	defer stop()
	p := Process{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Hurry: hurry}
	if len(os.Args) == 2 && os.Args[1] == "healthcheck" {
		run = func(ctx context.Context, p Process) error { return healthcheck(ctx, p.Environ, healthAddr) }
	} else if len(os.Args) > 1 {
		_, _ = fmt.Fprintf(os.Stderr, "usage: %s [healthcheck]\nIt is configured by the environment: see docs/configuration.md.\n", name)
		return 2
	}
	if err := run(ctx, p); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// signals says what SIGTERM and SIGINT mean: the first ends the context, which starts
// the drain, the second closes hurry, and a third ends the process where it stands.
func signals(parent context.Context) (ctx context.Context, hurry <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	received := make(chan os.Signal, 2)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	hurried, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		for _, act := range []func(){cancel, func() { close(hurried) }} {
			select {
			case <-received:
				act()
			case <-stopped:
				return
			}
		}
		signal.Stop(received)
	}()
	return ctx, hurried, func() {
		signal.Stop(received)
		close(stopped)
		cancel()
	}
}

// healthcheck asks a process on this machine whether it is ready.
func healthcheck(ctx context.Context, environ Environment, healthAddr func(Config) string) error {
	cfg, err := LoadConfig(environ)
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
