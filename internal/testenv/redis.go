// Package testenv has the parts that the tests of all packages share: a real redis-server, and
// ways to make it fail. Only tests import it; depguard checks that. It fails the test, and never
// skips it, when the machine lacks a requirement, because a skipped test goes unnoticed.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

const (
	redisMissing = "redis-server not found: run `make test`, which installs it, or apt-get install redis-server"
	// databases is the size of a server: every call of Redis takes one database
	// for the length of its test.
	databases = 512
)

// shared is the one server of the test process. It must outlive every test, and a TestMain can
// pass it to tests only by a package variable.
var shared sharedRedis //nolint:gochecknoglobals // see above

type sharedRedis struct {
	mu     sync.Mutex
	server *process
	dir    string
	free   []int
}

// RedisDB is an empty database of a real redis-server.
type RedisDB struct {
	Addr string // host:port
	DB   int
	URL  string // redis://host:port/db
}

// Refusing excepts a goroutine that is no leak: a server of net/http sleeps half a second after its answer to a request that it could
// not read, which is longer than goleak looks.
func Refusing() goleak.Option { return goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait") }

// Main runs the tests of a package in a TMPDIR of their own, stops what they shared and then looks for
// leaked goroutines and for files that they left. It returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }
func Main(m interface{ Run() int }, opts ...goleak.Option) int {
	code := InTempDir(func() int {
		defer shared.stop()
		return m.Run()
	})
	if code != 0 {
		return code // a test that failed half-way leaks as well: say only the cause
	}
	if err := goleak.Find(append(opts, Refusing())...); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	return 0
}

// Redis hands out an empty database that no other running test sees. The server
// behind it is started by the first call in the process and stopped by Main.
func Redis(tb testing.TB) *RedisDB {
	tb.Helper()
	addr, db, err := shared.take()
	if err != nil {
		tb.Fatal(err)
	}
	r := newRedisDB(addr, db)
	tb.Cleanup(func() {
		rdb := redis.NewClient(r.Options())
		defer func() { _ = rdb.Close() }()
		if err := rdb.FlushDB(context.Background()).Err(); err != nil {
			tb.Errorf("testenv: empty database %d: %v", db, err)
			return // not given back: the next test would find it dirty
		}
		shared.put(db)
	})
	return r
}

func newRedisDB(addr string, db int) *RedisDB {
	return &RedisDB{Addr: addr, DB: db, URL: fmt.Sprintf("redis://%s/%d", addr, db)}
}

// Options are go-redis' options for the database.
//
// Its clients wait long for an answer. On a busy machine it may come after the usual 3 s, and the client would send the
// command again, which finds what the first one has changed.
func (r *RedisDB) Options() *redis.Options {
	return &redis.Options{Addr: r.Addr, DB: r.DB, ReadTimeout: time.Minute}
}

// Client returns a client of the database; it is closed when the test ends.
func (r *RedisDB) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	rdb := redis.NewClient(r.Options())
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// RedisServer is a redis-server of one test alone: to measure its load (Redis
// counts commands per server, not per database), or to kill it.
type RedisServer struct {
	RedisDB
	dir  string
	args []string
	proc *process
}

// Durable are the arguments of a server that keeps everything that it has confirmed.
func Durable() []string { return []string{"--appendonly", "yes", "--appendfsync", "always"} }

// OwnRedis starts a server for this test, with extra arguments for redis-server.
func OwnRedis(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	s := &RedisServer{dir: tb.TempDir(), args: args}
	proc, err := startRedisAnywhere(s.dir, args...)
	if err != nil {
		tb.Fatal(err)
	}
	s.proc = proc
	s.RedisDB = *newRedisDB(proc.addr, 0)
	tb.Cleanup(func() { s.proc.kill() })
	return s
}

// Kill ends the server with SIGKILL: connections break, and data that is not on disk is lost.
func (s *RedisServer) Kill() { s.proc.kill() }

// Freeze stops the server as it is until Thaw: connections stay, and nothing answers.
func (s *RedisServer) Freeze() { s.proc.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *RedisServer) Thaw() { s.proc.signal(syscall.SIGCONT) }

// Restart starts the server again after a Kill, with the same arguments and on the
// same port: empty, unless the arguments made it keep its data.
func (s *RedisServer) Restart(tb testing.TB) {
	tb.Helper()
	s.proc.kill()
	proc, err := startRedis(s.dir, s.Addr, s.args...)
	if err != nil {
		tb.Fatal(err)
	}
	s.proc = proc
}

// Commands reads how many commands the server of rdb has processed since its
// start. Redis counts those inside scripts too, and those of every database. It
// panics if Redis does not answer.
func Commands(ctx context.Context, rdb redis.UniversalClient) int64 {
	info, err := rdb.Info(ctx, "stats").Result()
	if err != nil {
		panic(fmt.Errorf("testenv: read the server's statistics: %w", err))
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				panic(fmt.Errorf("testenv: total_commands_processed: %w", err))
			}
			return n
		}
	}
	panic("testenv: Redis reports no total_commands_processed")
}

func (s *sharedRedis) take() (addr string, db int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		if s.dir, err = os.MkdirTemp("", "kaa-redis-"); err != nil {
			return "", 0, fmt.Errorf("testenv: %w", err)
		}
		if s.server, err = startRedisAnywhere(s.dir); err != nil {
			_ = os.RemoveAll(s.dir)
			return "", 0, err
		}
		for db := databases - 1; db >= 0; db-- {
			s.free = append(s.free, db)
		}
	}
	if len(s.free) == 0 {
		return "", 0, errors.New("testenv: more than " + strconv.Itoa(databases) + " databases in use at once")
	}
	db = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return s.server.addr, db, nil
}

func (s *sharedRedis) put(db int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, db)
}

func (s *sharedRedis) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return
	}
	s.server.kill()
	s.server = nil
	_ = os.RemoveAll(s.dir)
}

// freeAddr returns an address of Loopback on which no process listens at the moment.
func freeAddr() (string, error) {
	lis, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(Loopback(), "0"))
	if err != nil {
		return "", fmt.Errorf("testenv: find a free port: %w", err)
	}
	defer func() { _ = lis.Close() }()
	return lis.Addr().String(), nil
}

// places are the addresses of the Redis servers that this process has started.
type places struct {
	mu    sync.Mutex
	taken map[string]bool
}

var redisPlaces places //nolint:gochecknoglobals // the servers of a process are

// next returns an address for a server, each only once: clients of a server that was killed look for it at its address, and must
// find no other there.
func (p *places) next() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		addr, err := freeAddr()
		if err != nil {
			return "", err
		}
		if !p.taken[addr] {
			if p.taken == nil {
				p.taken = map[string]bool{}
			}
			p.taken[addr] = true
			return addr, nil
		}
	}
}

// startRedisAnywhere starts a server on a free port. Between the search for a
// port and the start another process may take it, hence the attempts.
func startRedisAnywhere(dir string, args ...string) (*process, error) {
	const attempts = 5
	var errs []error
	for range attempts {
		addr, err := redisPlaces.next()
		if err != nil {
			return nil, err
		}
		proc, err := startRedis(dir, addr, args...)
		if err == nil {
			return proc, nil
		}
		errs = append(errs, err)
		if errors.Is(err, errRedisMissing) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// startRedis starts a server on addr and returns when it answers.
func startRedis(dir, addr string, args ...string) (*process, error) {
	proc, err := startProcess(dir, addr, args...)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	defer func() { _ = rdb.Close() }()
	deadline := time.Now().Add(Timeout)
	for rdb.Ping(context.Background()).Err() != nil {
		select {
		case <-proc.exited:
			return nil, fmt.Errorf("testenv: redis-server on %s exited: %s", addr, proc.output.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			proc.kill()
			return nil, fmt.Errorf("testenv: redis-server on %s does not answer: %s", addr, proc.output.String())
		}
	}
	return proc, nil
}

// FreeAddr returns an address of Loopback for a server, each only once.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	addr, err := redisPlaces.next()
	if err != nil {
		tb.Fatal(err)
	}
	return addr
}
