package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
)

func TestConfigErrorsComeAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Environment{
		"KAA_ADDR=0.0.0.0:8080", "KAA_CONCURRENCY=many", "KAA_QUEUES=a:0", "KAA_MAX_TIMEOUT=-1s", "KAA_RESULT_TTL=300h",
		"KAA_LOG_FORMAT=xml", "KAA_AUDIT_LOG=file", "KAA_USAGE_TTL=1h", "KAA_REDIS_URL=http://user:hunter2@host", "KAA_ALLOW_ANONYMOUS=perhaps", "KAA_RUNNER_ADDR=:99999", "KAA_MEMORY_BYTES=512m", "KAA_RESERVED_SLOTS=-1",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"KAA_ADDR", "KAA_CONCURRENCY", "KAA_QUEUES", "KAA_MAX_TIMEOUT must be above 0", "KAA_RESULT_TTL (300h0m0s) is above KAA_MAX_RESULT_TTL",
		"KAA_LOG_FORMAT", `KAA_AUDIT_LOG is "file"`, "KAA_USAGE_TTL must be 0", "KAA_REDIS_URL: has scheme", "KAA_ALLOW_ANONYMOUS", "KAA_API_KEYS is empty", "KAA_MEMORY_BYTES: ", `KAA_RESERVED_SLOTS is "-1"`,
		`KAA_RUNNER_ADDR is not host:port: "99999" is not a port`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the password is shown:\n%v", err)
	}
}

// TestConfigErrorsComeOnce: what cannot be read is not called zero as well.
func TestConfigErrorsComeOnce(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"KAA_CONCURRENCY=many", "KAA_KILL_GRACE=5", "KAA_MAX_BODY_BYTES=1k", "KAA_MAX_TIMEOUT=long", "KAA_MAX_RESULT_TTL=1"} {
		if _, err := config.Load(config.Environment{bad}); err == nil || strings.Count(err.Error(), "KAA_") != 1 {
			t.Errorf("%s:\n%v", bad, err)
		}
	}
}

// TestConfigBodyMemory: the largest body has to fit into what one key gets of it.
func TestConfigBodyMemory(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]bool{"": true, "a": true, "a,b": false} {
		_, err := config.Load(config.Environment{"KAA_MAX_BODY_BYTES=1000", "KAA_BODY_MEMORY=1999", "KAA_API_KEYS=" + keys})
		if (err == nil) != want {
			t.Errorf("with keys %q: %v, want it to be fine: %v", keys, err, want)
		}
	}
}

func TestConfigAddr(t *testing.T) {
	t.Parallel()
	tests := []struct {
		vars config.Environment
		ok   bool
	}{
		{nil, true},
		{config.Environment{"KAA_ADDR=localhost:1"}, true},
		{config.Environment{"KAA_ADDR=[::1]:1"}, true},
		{config.Environment{"KAA_ADDR=:8080"}, false},
		{config.Environment{"KAA_ADDR=0.0.0.0:8080"}, false},
		{config.Environment{"KAA_ADDR=example.org:8080", "KAA_API_KEYS= , "}, false},
		{config.Environment{"KAA_ADDR=:8080", "KAA_API_KEYS=k"}, true},
		{config.Environment{"KAA_ADDR=:8080", "KAA_ALLOW_ANONYMOUS=true"}, true},
		{config.Environment{"KAA_ADDR=8080"}, false},
		{config.Environment{"KAA_ADDR=127.0.0.1:"}, false},
		{config.Environment{"KAA_ADDR=127.0.0.1:http"}, false},
		{config.Environment{"KAA_ADDR=127.0.0.1:65536"}, false},
		{config.Environment{"KAA_ADDR=127.0.0.1:0"}, true},
	}
	for _, tt := range tests {
		if _, err := config.Load(tt.vars); (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.vars, err)
		}
	}
}

func TestRedisURLs(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"redis://localhost:6379/3":                   true,
		"rediss://user:pass@host":                    true,
		"unix:///run/redis.sock?db=1":                true,
		"redis-sentinel://a:1,b:2/master/2":          true,
		"rediss-sentinel://user:p@ss@a:1,b:2/master": true,
		"redis-cluster://user:pass@a:1,b:2,c:3":      true,
		"rediss-cluster://a:1":                       true,
		"redis-cluster://a:1/3":                      false,
		"redis-sentinel://a:1":                       false,
		"redis-sentinel://a:1/master/x":              false,
		"redis://localhost:6379/x":                   false,
		"localhost:6379":                             false,
		"http://localhost":                           false,
	} {
		if _, err := config.Load(config.Environment{"KAA_REDIS_URL=" + url}); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Environment{"KAA_API_KEYS=hunter2", "KAA_REDIS_URL=redis://:hunter2@h:1"})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %s", cfg, cfg, cfg.APIKeys); strings.Contains(text, "hunter2") {
		t.Errorf("shown: %s", text)
	}
}

func TestAllowedOrigins(t *testing.T) {
	t.Parallel()
	for origins, ok := range map[string]bool{
		"": true, "app.example.com": true, "*.example.org, localhost:3000": true, "*": false, "app.example.com, ?*": false, "*.*": false, "*:3000": false, "*.example": true,
		"https://app.example.com": false, "a,,b": false, "[": false,
	} {
		for _, name := range []string{"KAA_ALLOWED_ORIGINS=", "KAA_ALLOWED_HOSTS="} {
			if _, err := config.Load(config.Environment{name + origins}); (err == nil) != ok {
				t.Errorf("%s%q: %v", name, origins, err)
			}
		}
	}
	// With keys, a page has to know one.
	if _, err := config.Load(config.Environment{"KAA_ALLOWED_ORIGINS=*", "KAA_ADMIN_KEYS=a-key-of-some-length"}); err != nil {
		t.Error(err)
	}
}

// TestPortHosts: a pattern that is none stops the start, and is named.
func TestPortHosts(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{"": "", "*.ports.example.com": "ports.example.com", "http://*.localhost:8080": "localhost:8080", "ports.example.com": "!", "*.127.0.0.1": "!", "*.example.com:65536": "!"} {
		c, err := config.Load(config.Environment{"KAA_PORTS_HOST=" + pattern})
		if refused := err != nil && strings.Contains(err.Error(), "KAA_PORTS_HOST: "); refused != (want == "!") || !refused && (err != nil || c.PortHosts().Domain() != want) {
			t.Errorf("%q: %q %v", pattern, c.PortHosts().Domain(), err)
		}
	}
}

// TestBasePath: a base path is a path that stands everywhere as it is, and none of the API's own.
func TestBasePath(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"": "", "/": "", "/kaa": "/kaa", "/kaa/": "/kaa", "/tools/kaa-1.2_3~": "/tools/kaa-1.2_3~", "kaa": "!", "/a//b": "!", "/a/../b": "!", "/a b": "!", "/a%20b": "!", `/"><script>`: "!",
		"//host": "!", "/v1": "!", "/docs/kaa": "!", "/healthz": "!", "/" + strings.Repeat("a", 300): "!", "/kaa\r\nX: y": "!", "https://example.com/kaa": "!",
	} {
		c, err := config.Load(config.Environment{"KAA_BASE_PATH=" + value})
		got := c.BasePath
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, %v; want %q", value, got, err, want)
		}
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{"": 0, "false": 0, "true": 7, "gate": 1, "gate, pages": 2, "stack": -1, "gate,": -1, "maybe": -1} {
		c, err := config.Load(config.Environment{"KAA_PLAIN=" + value})
		if (err == nil) != (want >= 0) || err != nil && !strings.Contains(err.Error(), "KAA_PLAIN") {
			t.Errorf("%q: %v", value, err)
		}
		if want >= 0 && len(c.Plain) != want {
			t.Errorf("%q switches off %v, want %d", value, c.Plain, want)
		}
	}
}

// TestKeyLists: a list without a key in it is a mistake and not a Kaa without keys.
func TestKeyLists(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"KAA_API_KEYS", "KAA_ADMIN_KEYS"} {
		for keys, ok := range map[string]bool{"": true, "k": true, "k,": true, ",": false, " , ": false, " ": false} {
			if _, err := config.Load(config.Environment{name + "=" + keys}); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%q: %v", name, keys, err)
			}
		}
	}
}

// TestReservedQueues: what sessions execute is in listings of these names.
func TestReservedQueues(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sessions", "operations"} {
		if _, err := config.Load(config.Environment{"KAA_QUEUES=default:2," + name + ":1"}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
