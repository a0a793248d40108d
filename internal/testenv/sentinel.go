package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Sentinel is a master with one replica, and a sentinel that watches them.
type Sentinel struct {
	Addr string // of the sentinel
	Name string // of the master

	master, replica *RedisServer
}

// NewSentinel starts all three, with their data in append-only files.
func NewSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := &Sentinel{Name: "kaa", master: OwnRedis(tb, Durable()...)}
	host, port, err := net.SplitHostPort(s.master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	s.replica = OwnRedis(tb, append(Durable(), "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")...)
	s.AwaitReplica(tb)
	dir := tb.TempDir()
	config := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 3000\n",
		s.Name, host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	proc, err := startSentinel(dir, config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(proc.kill)
	s.Addr = proc.addr
	rdb := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
	defer func() { _ = rdb.Close() }()
	Eventually(tb, "the sentinel knows the replica", func() bool {
		replicas, err := rdb.Replicas(context.Background(), s.Name).Result()
		return err == nil && len(replicas) == 1 && strings.Contains(replicas[0]["flags"], "slave") &&
			replicas[0]["master-link-status"] == "ok"
	})
	return s
}

func startSentinel(dir, config string) (*process, error) {
	addr, err := redisPlaces.next()
	if err != nil {
		return nil, err
	}
	return startRedis(dir, addr, config)
}

// AwaitReplica waits until the replica has everything that the master has.
func (s *Sentinel) AwaitReplica(tb testing.TB) {
	tb.Helper()
	master, replica := s.master.Client(tb), s.replica.Client(tb)
	Eventually(tb, "the replica is up to date", func() bool {
		info := replica.Info(context.Background(), "replication").Val()
		if !strings.Contains(info, "master_link_status:up") {
			return false
		}
		at := field(master.Info(context.Background(), "replication").Val(), "master_repl_offset:")
		return at != "" && field(replica.Info(context.Background(), "replication").Val(), "slave_repl_offset:") >= at
	})
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
			return fmt.Sprintf("%20s", v)
		}
	}
	return ""
}

// KillMaster ends the master with SIGKILL; the sentinel then promotes the replica.
func (s *Sentinel) KillMaster() { s.master.Kill() }
