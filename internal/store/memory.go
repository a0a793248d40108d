package store

import (
	"bufio"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// memoryPeriod is how old what is known of Redis' memory may be.
	memoryPeriod = 2 * time.Second
	// roomForResults is the share of Redis' memory that only what runs may still fill, as a divisor.
	roomForResults = 8
	// callersShare is that of Redis' memory which one caller may take at most, as a divisor; share_of in
	// common.lua knows both.
	callersShare = 2
)

// memory is what is known of Redis' memory: it is asked for at most once in a period, by a
// caller that has a job to record. In a cluster there is none: the answer could be another
// node's.
type memory struct {
	mu         sync.Mutex
	at         time.Time
	used, most int64 // most is 0 if there is no bound
}

// hasRoom returns job.ErrStoreFull when Redis has no more memory than is needed for
// the results of what runs. It does not wait for an answer that it does not need.
func (s *Store) hasRoom(ctx context.Context) error {
	m := &s.memory
	m.mu.Lock()
	due := time.Since(m.at) >= memoryPeriod
	if due {
		m.at = time.Now()
	}
	m.mu.Unlock()
	if due {
		if _, isCluster := s.rdb.(*redis.ClusterClient); !isCluster {
			s.lookAtMemory(ctx)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.most > 0 && m.used > m.most-m.most/roomForResults {
		return job.ErrStoreFull
	}
	return nil
}

// lookAtMemory asks Redis. Where it does not answer, or may not, nothing changes.
func (s *Store) lookAtMemory(ctx context.Context) {
	text, err := s.rdb.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.memory.used, s.memory.most = infoNumber(text, "used_memory"), infoNumber(text, "maxmemory")
}

func infoNumber(info, name string) int64 {
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// mostOfCaller is how many bytes the records of one caller may take, and whether callers share that: then
// one gets no more than is free. 0 is no bound.
func (m *memory) mostOfCaller(cfg Config) (most int64, shared bool) {
	if cfg.MaxCallerBytes > 0 || cfg.OneCaller {
		return cfg.MaxCallerBytes, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most / callersShare, true
}
