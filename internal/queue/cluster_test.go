package queue_test

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestWorksOnACluster runs on a cluster of one node, which refuses commands and
// scripts whose keys are in different slots like any other.
func TestWorksOnACluster(t *testing.T) {
	t.Parallel()
	node := testenv.OwnRedis(t, "--cluster-enabled", "yes")
	if err := node.Client(t).ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatalf("give the node all slots: %v", err)
	}
	cluster := func() *redis.ClusterClient {
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{node.Addr}})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	rdb := cluster()
	testenv.Eventually(t, "the cluster is up", func() bool { return rdb.Set(t.Context(), "up", 1, 0).Err() == nil })

	tasks := make(chan job.Task)
	serve(t, node.Options(), to(tasks), func(c *queue.ServerConfig) { c.Redis, c.Blocking = cluster(), cluster() })
	client := queue.NewClient(rdb, 0)
	for i := range 30 {
		waitParked(t, node.Client(t), 1)
		want := strconv.Itoa(i)
		enqueue(t, client, job.Task{JobID: want, Queue: []string{"critical", "default", "low"}[i%3]})
		if got := receive(t, tasks, "task"); got.JobID != want {
			t.Errorf("handled %s, want %s", got.JobID, want)
		}
	}
	if err := client.Remove(t.Context(), job.Task{JobID: "x", Queue: "low"}); err != nil {
		t.Errorf("Remove: %v", err)
	}
}
