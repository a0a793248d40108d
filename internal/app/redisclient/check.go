package redisclient

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// checkEvery is the age from which the findings are renewed.
	checkEvery = 30 * time.Second
	// checkTime bounds a check.
	checkTime = time.Second
	// oldestMajor and oldestMinor are the first version with all commands that the scripts need.
	oldestMajor, oldestMinor = 6, 2
)

// Check checks that the settings of Redis keep Kaa's promises.
type Check struct {
	rdb redis.UniversalClient
	log *slog.Logger

	mu       sync.Mutex
	at       time.Time
	warnings []string
}

// NewCheck returns a check that has found nothing yet.
func NewCheck(rdb redis.UniversalClient, log *slog.Logger) *Check { return &Check{rdb: rdb, log: log} }

// Warnings returns the problems, which are at most checkEvery old. New problems are logged.
func (c *Check) Warnings(ctx context.Context) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < checkEvery {
		return c.warnings
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	found, err := Inspect(ctx, c.rdb)
	c.at = time.Now()
	if err != nil {
		c.log.DebugContext(ctx, "could not look how Redis is set", slog.Any("err", err))
		return c.warnings
	}
	for _, w := range found {
		if !strings.Contains(strings.Join(c.warnings, "\n"), w) {
			c.log.WarnContext(ctx, "Redis is not set as Kaa needs it", slog.String("problem", w))
		}
	}
	c.warnings = found
	return found
}

// Inspect returns the problems of the settings of Redis; of a cluster, those of each master.
func Inspect(ctx context.Context, rdb redis.UniversalClient) ([]string, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return inspectServer(ctx, rdb)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	var all []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		found, err := inspectServer(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		for _, w := range found {
			if !seen[w] {
				seen[w] = true
				all = append(all, w)
			}
		}
		return err
	})
	return all, err
}

// server has the commands that the check sends to a Redis.
type server interface {
	Info(ctx context.Context, section ...string) *redis.StringCmd
	ConfigGet(ctx context.Context, parameter string) *redis.MapStringStringCmd
}

func inspectServer(ctx context.Context, s server) ([]string, error) {
	facts := map[string]string{}
	for _, section := range []string{"server", "persistence", "memory"} { // INFO takes several only from 7.0 on
		text, err := s.Info(ctx, section).Result()
		if err != nil {
			return nil, fmt.Errorf("INFO %s: %w", section, err)
		}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				facts[name] = value
			}
		}
	}
	if facts["redis_version"] == "" {
		return nil, nil // a substitute for Redis inside a process
	}
	facts["save"] = "?" // managed services may refuse CONFIG GET
	if config, err := s.ConfigGet(ctx, "save").Result(); err == nil {
		facts["save"] = config["save"]
	}
	return judge(facts), nil
}

// judge returns the problems of a server's settings.
func judge(facts map[string]string) []string {
	var found []string
	if facts["aof_enabled"] == "0" {
		switch facts["save"] {
		case "":
			found = append(found, "it keeps nothing on disk: every job is lost when it ends; set appendonly yes")
		case "?":
			found = append(found, "it has no append-only file, and whether it writes snapshots cannot be seen: what was accepted may be lost when it ends; set appendonly yes")
		}
	}
	if policy := facts["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		found = append(found, fmt.Sprintf("its maxmemory-policy is %s: when it is full it throws away jobs that were accepted; set noeviction", policy))
	}
	if isOlder(facts["redis_version"]) {
		found = append(found, fmt.Sprintf("it is older than %d.%d, which Kaa does not support", oldestMajor, oldestMinor))
	}
	return found
}

func isOlder(version string) bool {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (major < oldestMajor || major == oldestMajor && minor < oldestMinor)
}
