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
	// memoryPeriod is the longest age of the known values of Redis' memory.
	memoryPeriod = 2 * time.Second
	// roomForResults is the share of Redis' memory that is left for results of running jobs, as
	// a divisor.
	roomForResults = 8
	// callersShare is the largest share of Redis' memory for one caller, as a divisor. share_of
	// in common.lua has both.
	callersShare = 2
)

// memory caches the values of Redis' memory. A caller that records a job reads them at most once
// in a period. On a cluster it is unused, because the answer could be another node's.
type memory struct {
	mu         sync.Mutex
	at         time.Time
	used, most int64 // most is 0 if there is no bound
}

// hasRoom returns job.ErrStoreFull when Redis has only the memory that is left for results of
// running jobs. It waits for Redis only if it needs the answer.
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

// lookAtMemory reads the values from Redis. If Redis does not answer, or refuses, they stay.
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

// mostOfCaller returns the limit of bytes for the records of one caller; 0 is none. shared is what share_of takes: empty if
// the caller shares Redis with no other one, and else half of Redis' memory, as a number, or "1" if most is that.
func (m *memory) mostOfCaller(cfg Config) (most int64, shared string) {
	m.mu.Lock()
	half := m.most / callersShare
	m.mu.Unlock()
	switch {
	case cfg.OneCaller || half == 0:
		return cfg.MaxCallerBytes, ""
	case cfg.MaxCallerBytes > 0:
		return cfg.MaxCallerBytes, strconv.FormatInt(half, 10)
	}
	return half, mark(true)
}
