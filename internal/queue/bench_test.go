package queue_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// BenchmarkPickUp is the time from the call of Enqueue to that of the handler, with
// three idle servers.
func BenchmarkPickUp(b *testing.B) {
	db := testenv.Redis(b)
	rdb := db.Client(b)
	client := queue.NewClient(rdb, 0)
	tasks := make(chan job.Task)
	for range 3 {
		serve(b, db.Options(), to(tasks))
	}
	waitParked(b, rdb, 3)
	took := make([]time.Duration, 0, b.N)
	i := 0
	for b.Loop() {
		i++
		begin := time.Now()
		enqueue(b, client, job.Task{JobID: strconv.Itoa(i), Queue: "default"})
		<-tasks
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkThroughput is the same with 32 producers that wait for their task.
func BenchmarkThroughput(b *testing.B) {
	db := testenv.Redis(b)
	rdb := db.Client(b)
	client := queue.NewClient(rdb, 0)
	tasks := make(chan job.Task, 1000)
	for range 3 {
		serve(b, db.Options(), to(tasks))
	}
	waitParked(b, rdb, 3)
	i := 0
	work := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range work {
				enqueue(b, client, job.Task{JobID: strconv.Itoa(i), Queue: "default"})
				<-tasks
			}
		})
	}
	for b.Loop() {
		i++
		work <- i
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkIdle measures the load of an idle server over a full minute, in which
// everything periodic happens. Run it with -benchtime=1x.
func BenchmarkIdle(b *testing.B) {
	server := testenv.OwnRedis(b)
	rdb := server.Client(b)
	serve(b, server.Options(), to(make(chan job.Task)), func(c *queue.ServerConfig) { c.IdlePoll = 0 })
	waitParked(b, rdb, 1)
	for b.Loop() {
		b.ReportMetric(idleLoad(b, rdb, time.Minute), "commands/s")
	}
}
