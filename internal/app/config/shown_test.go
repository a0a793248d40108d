package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
)

// public are the settings whose values operators see. A new setting belongs here only if its value can be no
// secret; else its field is a Secret.
const public = `
KAA_ADDR KAA_LOOPBACK_PORTS KAA_API_KEYS_FILE KAA_ALLOW_ANONYMOUS KAA_CONCURRENCY KAA_QUEUES KAA_RUNNER_ADDR KAA_PYTHON KAA_PRELOAD KAA_RUNTIMES KAA_PARKED KAA_SANDBOX
KAA_PASS_ENVS KAA_WORK_DIR KAA_PLAIN_STACK KAA_PLAIN KAA_DEFAULT_TIMEOUT KAA_MAX_TIMEOUT KAA_KILL_GRACE KAA_MAX_BODY_BYTES KAA_MAX_CODE_BYTES
KAA_MAX_STDIN_BYTES KAA_MAX_ENV_BYTES KAA_MAX_METADATA_BYTES KAA_MAX_ATTEMPTS KAA_MAX_DELAY KAA_SYNC_QUEUE_WAIT KAA_START_PATIENCE KAA_MAX_UPLOADS
KAA_MAX_UPLOAD_BYTES KAA_MAX_FILE_UPLOAD_BYTES KAA_MAX_RESULT_FILES KAA_MAX_RESULT_FILE_BYTES KAA_MAX_QUEUE_DEPTH KAA_MAX_QUEUE_DEPTH_PER_KEY
KAA_MAX_STORED_BYTES_PER_KEY KAA_MAX_STORED_FILE_BYTES KAA_MAX_STORED_FILE_BYTES_PER_KEY KAA_FAIR_WINDOW KAA_RESERVED_SLOTS KAA_MAX_SYNC_WAITS
KAA_MAX_CONNECTIONS KAA_BODY_MEMORY KAA_ANSWER_MEMORY KAA_RATE_LIMIT KAA_RATE_BURST KAA_REDIS_CA_FILE KAA_REDIS_CERT_FILE KAA_REDIS_KEY_FILE
KAA_REDIS_SERVER_NAME KAA_MAX_BATCH_JOBS KAA_MAX_BATCH_BYTES KAA_MAX_BATCH_LINE_BYTES KAA_MAX_BATCHES_PER_KEY KAA_MAX_SCHEDULES_PER_KEY KAA_BATCH_AHEAD
KAA_BATCH_RECEIVE_TIMEOUT KAA_OIDC_ISSUER KAA_OIDC_AUDIENCE KAA_OIDC_TENANT_CLAIM KAA_OIDC_SCOPES_CLAIM KAA_OIDC_SCOPES_PREFIX KAA_OIDC_ADMIN
KAA_OIDC_ALLOW_HTTP KAA_MAX_SESSIONS KAA_MAX_SESSIONS_PER_KEY KAA_MAX_SESSION_MEMORY_BYTES_PER_KEY KAA_MAX_SESSION_DISK_BYTES_PER_KEY KAA_SESSION_IDLE_TIMEOUT KAA_MAX_SESSION_IDLE_TIMEOUT KAA_SESSION_AGE
KAA_MAX_SESSION_AGE KAA_MAX_SESSION_PAUSE KAA_MAX_PAUSED_SESSIONS_PER_KEY KAA_MAX_VOLUMES_PER_KEY KAA_VOLUME_TTL KAA_VOLUME_SAVE_EVERY KAA_SESSION_EVICT_AFTER KAA_WEBHOOK_ALLOW_PRIVATE KAA_WEBHOOK_TIMEOUT KAA_WEBHOOK_RETRY_FOR KAA_EGRESS KAA_EGRESS_PRIVATE KAA_EGRESS_CONNECTIONS KAA_EGRESS_BYTES KAA_EVENT_BYTES KAA_ALLOWED_ORIGINS
KAA_ALLOWED_HOSTS KAA_PORTS_HOST KAA_DIALECTS KAA_BASE_PATH KAA_CONSOLE KAA_METRICS_TENANTS KAA_RESULT_TTL KAA_MAX_RESULT_TTL KAA_TOMBSTONE_TTL KAA_IDEMPOTENCY_TTL KAA_USAGE_TTL KAA_DRAIN_TIMEOUT KAA_SHUTDOWN_DELAY
KAA_LOG_LEVEL KAA_LOG_FORMAT KAA_ACCESS_LOG KAA_JOB_LOG KAA_AUDIT_LOG KAA_AUDIT_EXECUTIONS KAA_MEMORY_BYTES KAA_MAX_MEMORY_BYTES KAA_CPUS KAA_MAX_CPUS
KAA_CPU_TIME KAA_MAX_CPU_TIME KAA_PROCESSES KAA_MAX_PROCESSES KAA_OPEN_FILES KAA_MAX_OPEN_FILES KAA_FILE_BYTES KAA_MAX_FILE_BYTES KAA_DISK_BYTES
KAA_MAX_DISK_BYTES KAA_OUTPUT_BYTES KAA_MAX_OUTPUT_BYTES KAA_RESULT_BYTES KAA_MAX_RESULT_BYTES
KAA_PACKAGES KAA_UV KAA_PACKAGES_ALLOW KAA_PACKAGES_BLOCK KAA_MAX_PACKAGES_BYTES KAA_PACKAGES_DISK_BYTES KAA_PACKAGES_TIMEOUT
KAA_CALLS KAA_MAX_CALLS KAA_CALL_BYTES KAA_MAX_CALL_BYTES KAA_CALL_TIME KAA_MAX_CALL_TIME KAA_CALLS_AT_ONCE KAA_MAX_CALLS_AT_ONCE`

// TestSettingsAreClassified: a new setting is public or secret because somebody has decided it.
func TestSettingsAreClassified(t *testing.T) {
	t.Parallel()
	shown := strings.Fields(public)
	for _, s := range config.Settings() {
		if slices.Contains(shown, s.Name) == s.Secret {
			t.Errorf("%s: make its field a Secret, or list it as public", s.Name)
		}
	}
}

// TestShown: values are as they are written, secrets are hidden wherever they are, and what was changed is
// known.
func TestShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-hunter2-hunter2"
	c, err := config.Load(config.Environment{
		"KAA_API_KEYS=" + secret, "KAA_ADMIN_KEYS=" + secret + "a", "KAA_REDIS_URL=redis://u:" + secret + "@127.0.0.1:1/0",
		"KAA_BLOB_URL=s3://u:" + secret + "@bucket.example.com/x", "KAA_OIDC_ISSUER=https://u:" + secret + "@id.example.com", "KAA_OIDC_AUDIENCE=kaa,other",
		"KAA_QUEUES=a:2,b:1", "KAA_KILL_GRACE=90s", "KAA_RUNTIMES=py=/usr/bin/python3:json;other=python3", "KAA_LOG_LEVEL=DEBUG", "KAA_DEFAULT_TIMEOUT=60s",
	})
	_ = err // values count here
	want := map[string]string{
		"KAA_API_KEYS": "***", "KAA_ADMIN_KEYS": "***", "KAA_REDIS_URL": "***", "KAA_BLOB_URL": "***", "KAA_OIDC_ISSUER": "https://***@id.example.com", "KAA_OIDC_AUDIENCE": "kaa,other",
		"KAA_QUEUES": "a:2,b:1", "KAA_KILL_GRACE": "1m30s", "KAA_RUNTIMES": "py=/usr/bin/python3:json;other=python3", "KAA_LOG_LEVEL": "DEBUG",
		"KAA_DEFAULT_TIMEOUT": "1m0s", "KAA_PLAIN": "false",
	}
	for _, s := range c.Shown() {
		if strings.Contains(s.Value, secret) {
			t.Errorf("%s shows a secret: %s", s.Name, s.Value)
		}
		value, asked := want[s.Name]
		if asked && s.Value != value {
			t.Errorf("%s is %q, want %q", s.Name, s.Value, value)
		}
		if unchanged := !asked || s.Name == "KAA_DEFAULT_TIMEOUT" || s.Name == "KAA_PLAIN"; s.Changed == unchanged {
			t.Errorf("%s: changed is %v", s.Name, s.Changed)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("not shown: %v", want)
	}
	unset, _ := config.Load(nil)
	for _, s := range unset.Shown() {
		if s.Name == "KAA_API_KEYS" && s.Value != "" {
			t.Errorf("no keys are shown as %q", s.Value)
		}
	}
}
