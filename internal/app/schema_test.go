package app_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

const schemaKey = "{kaa}:schema"

// raiseSchema does what the start of a later release does that works alone.
func raiseSchema(t *testing.T, db *testenv.RedisDB) {
	t.Helper()
	if err := db.Client(t).HSet(t.Context(), schemaKey, "version", 9, "read_by", 8, "by", "v9.1.0").Err(); err != nil {
		t.Fatal(err)
	}
}

const refusedWords = "the records in Redis have version 9, since Kaa v9.1.0 has worked on them, and need a process of version 8 at least"

// TestNewerRecordsRefuseTheStart: each process says in words why it does not start.
func TestNewerRecordsRefuseTheStart(t *testing.T) {
	t.Parallel()
	for name, main := range map[string]func(context.Context, app.Process) error{"api": app.RunAPI, "runner": app.RunRunner, "dev": app.RunDev} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testenv.Redis(t)
			raiseSchema(t, redis)
			k := prepare(t, redis)
			err := main(t.Context(), app.Process{Environ: k.environ, Stdout: k.logs, Stderr: k.logs, Periods: k.periods})
			if _, refused := errors.AsType[*job.SchemaError](err); !refused || !strings.Contains(err.Error(), refusedWords) {
				t.Errorf("%v", err)
			}
			if keys := redis.Client(t).Keys(t.Context(), "{kaa}:runner*").Val(); len(keys) > 0 {
				t.Errorf("it has registered itself: %v", keys)
			}
		})
	}
}

func addressTo(ready chan<- string) func(net.Addr) {
	return func(a net.Addr) { ready <- "http://" + a.String() }
}

// TestRecordsAreRaisedUnderAProcess: processes that run when a later release raises the version
// finish what they do, say why, and stop.
func TestRecordsAreRaisedUnderAProcess(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	k := prepare(t, redis, "KAA_RUNNER_ADDR=127.0.0.1:0", "KAA_SHUTDOWN_DELAY=1m")
	k.periods.Schema = 10 * time.Millisecond
	type process struct {
		kaa
		ended chan error
		hurry chan struct{}
	}
	begin := func(main func(context.Context, app.Process) error) *process {
		p := &process{kaa: *k, ended: make(chan error, 1), hurry: make(chan struct{})}
		ready := make(chan string, 1)
		go func() {
			p.ended <- main(t.Context(), app.Process{
				Environ: k.environ, Stdout: k.logs, Stderr: k.logs, Periods: k.periods, Hurry: p.hurry,
				Ready: addressTo(ready),
			})
		}()
		select {
		case p.url = <-ready:
		case err := <-p.ended:
			t.Fatal(err)
		}
		return p
	}
	api, runner := begin(app.RunAPI), begin(app.RunRunner)
	if a := api.call(http.MethodPost, executePath, fields{"code": "print(1)"}); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	job := api.call(http.MethodPost, "/v1/jobs", fields{"code": "import time; time.sleep(1); print(2)"})
	testenv.Eventually(t, "the job runs", func() bool {
		return api.call(http.MethodGet, "/v1/jobs/"+job.str("id"), nil).str("state") != "queued" // it may be over already on a slow machine
	})
	raiseSchema(t, redis)
	if err := <-runner.ended; err == nil || !strings.Contains(err.Error(), refusedWords) {
		t.Errorf("runner: %v", err)
	}
	// The API waits for the load balancers, so its state can be seen.
	testenv.Eventually(t, "the API says why it is not ready", func() bool {
		a := api.call(http.MethodGet, "/readyz", nil)
		return a.status == http.StatusServiceUnavailable && a.str("code") == "schema_refused" && strings.Contains(a.str("detail"), refusedWords)
	})
	if a := api.call(http.MethodGet, "/v1/jobs/"+job.str("id"), nil); a.str("state") != "completed" || a.str("result.stdout") != "2\n" {
		t.Errorf("the job that ran: %s", a.raw)
	}
	close(api.hurry)
	if err := <-api.ended; err == nil || !strings.Contains(err.Error(), refusedWords) {
		t.Errorf("api: %v", err)
	}
}

// TestAdditiveRecordsRefuseNobody: a later release that raises the version only is no reason to stop.
func TestAdditiveRecordsRefuseNobody(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	if err := redis.Client(t).HSet(t.Context(), schemaKey, "version", 9, "read_by", 1, "by", "v9.1.0").Err(); err != nil {
		t.Fatal(err)
	}
	k := prepare(t, redis)
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.run(app.RunRunner)
	k.execute(fields{"code": "print(1)"})
	if got := redis.Client(t).HGet(t.Context(), schemaKey, "version").Val(); got != "9" {
		t.Errorf("version %s", got)
	}
}

// TestLostSchemaComesBack: a Redis that has lost its records has their version again soon.
func TestLostSchemaComesBack(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	k := prepare(t, redis)
	k.periods.Schema = 10 * time.Millisecond
	k.run(app.RunAPI)
	rdb := redis.Client(t)
	if err := rdb.Del(t.Context(), schemaKey).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the version is there", func() bool { return rdb.HGet(t.Context(), schemaKey, "read_by").Val() == "1" })
}
