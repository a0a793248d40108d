package redisclient

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		facts map[string]string
		want  []string
	}{
		{"as it should be", map[string]string{"redis_version": "7.0.15", "aof_enabled": "1", "save": "", "maxmemory_policy": "noeviction"}, nil},
		{"Valkey", map[string]string{"redis_version": "7.2.4", "aof_enabled": "1", "save": "?", "maxmemory_policy": "noeviction"}, nil},
		{"snapshots", map[string]string{"redis_version": "6.2.0", "aof_enabled": "0", "save": "3600 1", "maxmemory_policy": "noeviction"}, nil},
		{"nothing kept", map[string]string{"redis_version": "8.0.2", "aof_enabled": "0", "save": "", "maxmemory_policy": "noeviction"}, []string{"nothing on disk"}},
		{"may not be asked", map[string]string{"redis_version": "8.0.2", "aof_enabled": "0", "save": "?", "maxmemory_policy": "noeviction"}, []string{"cannot be seen"}},
		{"all of it", map[string]string{"redis_version": "6.0.16", "aof_enabled": "0", "maxmemory_policy": "volatile-ttl"}, []string{"nothing on disk", "volatile-ttl", "older than 6.2"}},
		{"another version", map[string]string{"redis_version": "255.255.255", "aof_enabled": "1", "maxmemory_policy": "noeviction"}, nil},
	} {
		got := judge(tt.facts)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q", tt.name, got)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: %q, want %q", tt.name, got[i], want)
			}
		}
	}
}
