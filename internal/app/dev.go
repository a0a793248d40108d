package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/telemetry"
)

// RunDev runs API, one runner and, unless KAA_REDIS_URL is set, an embedded Redis
// in one process until ctx ends.
func RunDev(ctx context.Context, p Process) error {
	d, err := StartDev(ctx, p, nil)
	if err != nil {
		return err
	}
	addr := d.Addr()
	_, _ = fmt.Fprint(p.Stdout, welcome("http://"+addr.String()+d.cfg.BasePath, d.cfg.Console))
	if d.embedded != nil {
		_, _ = fmt.Fprint(p.Stdout, "Jobs, sessions and files are forgotten when this ends.\n")
	}
	_, _ = fmt.Fprint(p.Stdout, "Code imports what the interpreter has: KAA_PYTHON names another, e.g. of a virtual environment.\n\n")
	p.ready(addr)
	ctx, stopWatch := d.watchSchema(ctx)
	defer stopWatch()
	failed := d.api.wait(ctx)
	return errors.Join(failed, d.Stop(ctx), d.schema.refused())
}

// welcome is what a developer reads about the Kaa at an address.
func welcome(address string, console bool) string {
	page := ""
	if console {
		page = "The console for browsers is at " + address + "/. "
	}
	return fmt.Sprintf(`
Kaa is ready on %[1]s (docs: %[1]s/docs).
%[2]sTry:

  curl -X POST %[1]s/process/interpreter/execute \
    -H 'Content-Type: application/json' \
    -d '{"code": "print(6 * 7)"}'

`, address, page)
}

// embeddedLease is the lease of a process with a Redis of its own. The records end with the process, so none has to find out soon
// that it is dead. On a busy machine its own heartbeats may be late.
const embeddedLease = 5 * time.Minute

// embeddedPrefix begins the names of the directories of embedded Redises.
const embeddedPrefix = "kaa-embedded-"

// Dev is API, runner and embedded Redis in one process.
type Dev struct {
	*shared
	api      *apiProcess
	runner   *runnerProcess
	embedded func()             // ends the embedded Redis; nil if there is none
	private  process.PrivateDir // of the embedded Redis, and of files
}

// devDefaults differ from the defaults of a server, because a developer watches the process. Given
// values override them.
func devDefaults() map[string]string {
	return map[string]string{"KAA_LOG_FORMAT": telemetry.LogConsole, "KAA_DRAIN_TIMEOUT": "1s"}
}

// StartDev starts all parts. overrides take precedence over the environment.
func StartDev(ctx context.Context, p Process, overrides map[string]string) (_ *Dev, err error) {
	d := new(Dev)
	environ := p.Environ
	for name, value := range devDefaults() {
		if environ.Get(name) == "" {
			environ = environ.With(name, value)
		}
	}
	for name, value := range overrides {
		environ = environ.With(name, value)
	}
	if environ.Get("KAA_REDIS_URL") == "" {
		if p.Redis == nil {
			return nil, errors.New("KAA_REDIS_URL is not set, and this program has no Redis of its own")
		}
		url, err := d.startRedis(p)
		if err != nil {
			return nil, err
		}
		environ = environ.With("KAA_REDIS_URL", url)
		for _, name := range []string{"KAA_REDIS_CA_FILE", "KAA_REDIS_CERT_FILE", "KAA_REDIS_KEY_FILE", "KAA_REDIS_SERVER_NAME"} {
			environ = environ.With(name, "") // they are meant for another Redis
		}
		if p.Periods.Lease == 0 {
			p.Periods.Lease = embeddedLease
		}
		// The records of files end with the embedded Redis, so the files do, too.
		if environ.Get("KAA_BLOB_URL") == "" {
			environ = environ.With("KAA_BLOB_URL", "file://"+d.files())
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.closeRedis())
		}
	}()
	p.Environ = environ
	if d.shared, err = p.setup(ctx, "dev"); err != nil {
		return nil, err
	}
	front, err := d.openFront(ctx)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	// The wait is bounded, because the developer can start a Redis and try again.
	if err := d.awaitRecords(ctx, redisStartTime); err != nil {
		return nil, errors.Join(err, front.close(), d.close())
	}
	if d.runner, err = d.startRunner(ctx); err != nil {
		return nil, errors.Join(err, front.close(), d.close())
	}
	if d.api, err = d.startAPI(ctx, front); err != nil {
		return nil, errors.Join(err, drain(ctx, d.log, d.runner.stages()), front.close(), d.close())
	}
	return d, nil
}

// Addr returns the address at which the process answers HTTP.
func (d *Dev) Addr() net.Addr { return d.api.listener.Addr() }

// Stop drains the process: the API first, because its callers wait for the runner's executions.
func (d *Dev) Stop(ctx context.Context) error {
	stages := append(d.api.stages(), d.runner.stages()...)
	stages = append(stages, stage{"redis", time.Second, func(context.Context) error {
		return errors.Join(d.close(), d.closeRedis())
	}})
	return d.shutDown(ctx, stages, slog.Int("active", d.runner.runner.Active()))
}

// startRedis starts the embedded Redis in a private directory. A process that is killed leaves
// its directory behind, and the next process removes it.
func (d *Dev) startRedis(p Process) (url string, err error) {
	process.RemoveLeftovers("", embeddedPrefix, slog.New(slog.DiscardHandler))
	if d.private, err = process.MakePrivateDir("", embeddedPrefix); err != nil {
		return "", err
	}
	if err = os.Mkdir(d.files(), 0o700); err == nil {
		url, d.embedded, err = p.Redis(d.private.Path)
	}
	if err != nil {
		return "", errors.Join(err, d.private.Remove())
	}
	return url, nil
}

// files is the directory of the contents of files. They are kept as long as the embedded Redis.
func (d *Dev) files() string { return filepath.Join(d.private.Path, "files") }

// closeRedis ends the embedded Redis, if there is one, and removes its directory.
func (d *Dev) closeRedis() error {
	if d.embedded == nil {
		return nil
	}
	d.embedded()
	return d.private.Remove()
}

// queueStats counts the queues for the metrics.
func (s *shared) queueStats(ctx context.Context) ([]job.QueueStats, error) {
	stats, err := s.store.Queues(ctx, s.cfg.Queues.Names(), job.Viewer{All: true})
	if err != nil {
		s.log.WarnContext(ctx, "count queues", slog.Any("err", err))
	}
	return stats, err
}
