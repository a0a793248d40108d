package interpreter_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// The start of a pool costs more processor time than most tests do. So those that look at
// executions only, and at nothing of their pool, have pools together.
var (
	sharedMu    sync.Mutex
	sharedPools = map[sharedKey]*sharedPool{}
)

// sharedKey is what shared pools differ in.
type sharedKey struct {
	level sandbox.Level
	grace time.Duration
}

type sharedPool struct {
	once sync.Once
	pool *interpreter.Pool
	dir  string
	err  error
}

// shared returns a pool that other tests use, too, and that lives until all have ended.
// change may set the level and the grace.
func shared(tb testing.TB, change ...func(*interpreter.Config)) *interpreter.Pool {
	tb.Helper()
	var cfg interpreter.Config
	for _, f := range change {
		f(&cfg)
	}
	key := sharedKey{cfg.Sandbox, cfg.Grace}
	sharedMu.Lock()
	one := sharedPools[key]
	if one == nil {
		one = new(sharedPool)
		sharedPools[key] = one
	}
	sharedMu.Unlock()
	one.once.Do(func() { one.err = one.start(key) })
	if one.err != nil {
		tb.Fatalf("shared pool: %v", one.err)
	}
	return one.pool
}

func (s *sharedPool) start(key sharedKey) (err error) {
	if s.dir, err = os.MkdirTemp("", "kaa-shared-"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	cfg := interpreter.Config{Runtimes: runtimeOf(python()), Dir: s.dir, StartTimeout: ample, Size: 2, Sandbox: key.level, Grace: key.grace, Plain: plain(), PlainMemory: plainMemory()}
	if s.pool, err = interpreter.New(ctx, cfg); err != nil {
		return err
	}
	return s.pool.Start(ctx)
}

// withSharedPools runs all tests and ends the pools that they have shared.
type withSharedPools struct{ tests *testing.M }

func (w withSharedPools) Run() int {
	code := w.tests.Run()
	for key, one := range sharedPools {
		var err error
		if one.pool != nil {
			err = closePool(one.pool, one.dir)
		}
		if err = errors.Join(err, os.RemoveAll(one.dir)); err != nil {
			fmt.Fprintf(os.Stderr, "shared pool at level %q with grace %s: %v\n", key.level, key.grace, err)
			code = 1
		}
	}
	return code
}
