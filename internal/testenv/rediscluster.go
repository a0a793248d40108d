package testenv

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisCluster is a cluster of three masters, each with a replica.
type RedisCluster struct {
	URL   string
	Addrs []string

	nodes []*RedisServer
}

// lastSlot is that of a cluster.
const lastSlot = 16383

// NewRedisCluster starts one that considers a master dead after two seconds.
func NewRedisCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	const masters = 3
	c := new(RedisCluster)
	clients := make([]*redis.Client, 2*masters)
	for i := range clients {
		node := OwnRedis(tb, append(Durable(), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")...)
		clients[i] = node.Client(tb)
		c.nodes, c.Addrs = append(c.nodes, node), append(c.Addrs, node.Addr)
	}
	c.URL = "redis-cluster://" + strings.Join(c.Addrs, ",")
	ctx := context.Background()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatalf("testenv: make a cluster: %v", err)
		}
	}
	for i, rdb := range clients {
		must(rdb.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		if i < masters {
			must(rdb.ClusterAddSlotsRange(ctx, i*(lastSlot+1)/masters, (i+1)*(lastSlot+1)/masters-1).Err())
		}
		host, port, err := net.SplitHostPort(c.Addrs[0])
		must(err)
		if i > 0 {
			must(rdb.ClusterMeet(ctx, host, port).Err())
		}
	}
	for i := masters; i < len(clients); i++ {
		master := clients[i-masters].ClusterMyID(ctx).Val()
		Eventually(tb, "a replica knows its master", func() bool { return clients[i].ClusterReplicate(ctx, master).Err() == nil })
	}
	Eventually(tb, "the cluster is whole", func() bool {
		for i, rdb := range clients {
			info := rdb.ClusterInfo(ctx).Val()
			known := "cluster_known_nodes:" + strconv.Itoa(len(clients))
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, known) {
				return false
			}
			if i >= masters && !strings.Contains(rdb.Info(ctx, "replication").Val(), "master_link_status:up") {
				return false
			}
		}
		return strings.Count(clients[0].ClusterNodes(ctx).Val(), "slave") == masters
	})
	return c
}

// KillMasterOf ends the master that has a key with SIGKILL; a replica takes its place.
func (c *RedisCluster) KillMasterOf(tb testing.TB, key string) {
	tb.Helper()
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs})
	defer func() { _ = rdb.Close() }()
	node, err := rdb.MasterForKey(context.Background(), key)
	if err != nil {
		tb.Fatal(err)
	}
	addr := node.Options().Addr
	for _, n := range c.nodes {
		if n.Addr == addr {
			n.Kill()
			return
		}
	}
	tb.Fatalf("testenv: %s is none of the cluster's nodes", addr)
}
