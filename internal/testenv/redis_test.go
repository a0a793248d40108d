package testenv_test

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) {
	if name := testenv.ChildName(); name != "" {
		os.Exit(testenv.InTempDir(func() int { return leave(name) }))
	}
	os.Exit(testenv.Main(m))
}

func TestEachCallGetsItsOwnDatabase(t *testing.T) {
	t.Parallel()
	a, b := testenv.Redis(t), testenv.Redis(t)
	if a.Addr != b.Addr || a.DB == b.DB {
		t.Errorf("got %s and %s, want two databases of one server", a.URL, b.URL)
	}
	opt, err := redis.ParseURL(a.URL)
	if err != nil || opt.Addr != a.Addr || opt.DB != a.DB {
		t.Errorf("URL %s leads to %+v, %v", a.URL, opt, err)
	}
}

func TestDatabasesComeBackEmpty(t *testing.T) {
	t.Parallel()
	for i := range 600 { // more than the server has, of which only a few run at once
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			rdb := testenv.Redis(t).Client(t)
			if n := rdb.DBSize(t.Context()).Val(); n != 0 {
				t.Fatalf("%d keys in a fresh database", n)
			}
			rdb.Set(t.Context(), "k", "v", 0)
		})
	}
}

func TestOwnRedisComesBackAfterKill(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	rdb := server.Client(t)
	before := testenv.Commands(t.Context(), rdb)
	if after := testenv.Commands(t.Context(), rdb); after != before+1 {
		t.Errorf("one command was counted as %d", after-before)
	}
	server.Kill()
	if rdb.Ping(t.Context()).Err() == nil {
		t.Error("a killed server answers")
	}
	server.Restart(t)
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	faults := &testenv.Faults{}
	rdb.AddHook(faults)
	broken := errors.New("broken")
	faults.Fail(func(cmd redis.Cmder) error {
		if cmd.Name() == "set" {
			return broken
		}
		return nil
	})
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); !errors.Is(err, broken) {
		t.Errorf("SET: %v", err)
	}
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING: %v", err)
	}
	p := rdb.Pipeline()
	p.Incr(t.Context(), "n")
	p.Set(t.Context(), "k", "v", 0)
	if _, err := p.Exec(t.Context()); !errors.Is(err, broken) {
		t.Errorf("pipeline: %v", err)
	}
	faults.Fail(nil)
	if n := rdb.Exists(t.Context(), "k", "n").Val(); n != 0 {
		t.Error("a command that failed was executed")
	}
}

func TestProxyCutAndHeal(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	proxy := testenv.NewProxy(t, db.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr, DB: db.DB, MaxRetries: -1})
	defer func() { _ = rdb.Close() }()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}
	proxy.Cut()
	if rdb.Ping(t.Context()).Err() == nil {
		t.Error("a cut network carries a command")
	}
	proxy.Heal()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("healed: %v", err)
	}
}
