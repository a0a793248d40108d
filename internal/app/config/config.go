package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/telemetry"
)

// Config is the whole configuration of a process. docs/configuration.md describes
// it; a test holds the two together.
type Config struct {
	Addr string `env:"KAA_ADDR" envDefault:"127.0.0.1:8080"`
	// LoopbackPorts are further ports of 127.0.0.1 at which the API listens, for clients whose ports are fixed.
	LoopbackPorts []uint16 `env:"KAA_LOOPBACK_PORTS"`
	RedisURL      Secret   `env:"KAA_REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
	APIKeys       []Secret `env:"KAA_API_KEYS"`
	// AdminKeys are further keys, whose callers see the jobs and sessions of all callers.
	AdminKeys []Secret `env:"KAA_ADMIN_KEYS"`
	// APIKeysFile lists keys of tenants. It is read again when it changes.
	APIKeysFile    string `env:"KAA_API_KEYS_FILE"`
	AllowAnonymous bool   `env:"KAA_ALLOW_ANONYMOUS" envDefault:"false"`

	Concurrency int      `env:"KAA_CONCURRENCY" envDefault:"0"`
	Queues      Queues   `env:"KAA_QUEUES" envDefault:"critical:6,default:3,low:1"`
	RunnerAddr  string   `env:"KAA_RUNNER_ADDR"`
	Python      string   `env:"KAA_PYTHON" envDefault:"python3"`
	Preload     []string `env:"KAA_PRELOAD"`
	// Runtimes is never empty: KAA_PYTHON and KAA_PRELOAD make one if KAA_RUNTIMES
	// does not. The first is the default.
	Runtimes Runtimes `env:"KAA_RUNTIMES"`
	Parked   int      `env:"KAA_PARKED" envDefault:"0"`
	Sandbox  string   `env:"KAA_SANDBOX" envDefault:"strict"`
	// The last two are facts of the hardware, without which some builds of OpenBLAS
	// guess wrong and crash.
	PassEnvs []string `env:"KAA_PASS_ENVS" envDefault:"LANG,LC_ALL,TZ,OPENBLAS_CORETYPE,OPENBLAS_L2_SIZE"`
	WorkDir  string   `env:"KAA_WORK_DIR"`
	// Should frames.py ever do harm.
	PlainStack bool `env:"KAA_PLAIN_STACK" envDefault:"false"`
	// Plain is what is done without tricks.
	Plain Plain `env:"KAA_PLAIN" envDefault:"false"`

	DefaultTimeout   time.Duration `env:"KAA_DEFAULT_TIMEOUT" envDefault:"60s"`
	MaxTimeout       time.Duration `env:"KAA_MAX_TIMEOUT" envDefault:"1h"`
	KillGrace        time.Duration `env:"KAA_KILL_GRACE" envDefault:"2s"`
	MaxBodyBytes     int64         `env:"KAA_MAX_BODY_BYTES" envDefault:"16777216"`
	MaxCodeBytes     int           `env:"KAA_MAX_CODE_BYTES" envDefault:"1048576"`
	MaxStdinBytes    int           `env:"KAA_MAX_STDIN_BYTES" envDefault:"4194304"`
	MaxEnvBytes      int           `env:"KAA_MAX_ENV_BYTES" envDefault:"65536"`
	MaxMetadataBytes int           `env:"KAA_MAX_METADATA_BYTES" envDefault:"16384"`
	MaxAttempts      int           `env:"KAA_MAX_ATTEMPTS" envDefault:"10"`
	MaxDelay         time.Duration `env:"KAA_MAX_DELAY" envDefault:"720h"`
	SyncQueueWait    time.Duration `env:"KAA_SYNC_QUEUE_WAIT" envDefault:"30s"`
	StartPatience    time.Duration `env:"KAA_START_PATIENCE" envDefault:"1m"`

	// BlobURL is where files are; empty for a directory of this user's.
	BlobURL        Secret `env:"KAA_BLOB_URL"`
	MaxUploads     int    `env:"KAA_MAX_UPLOADS" envDefault:"100"`
	MaxUploadBytes int64  `env:"KAA_MAX_UPLOAD_BYTES" envDefault:"16777216"`
	// MaxFileUploadBytes is of a file that is the body of a request, and passes through.
	MaxFileUploadBytes int64 `env:"KAA_MAX_FILE_UPLOAD_BYTES" envDefault:"268435456"`
	// Bounds of the files of an execution that are kept; with 0 files, none are.
	MaxResultFiles     int   `env:"KAA_MAX_RESULT_FILES" envDefault:"256"`
	MaxResultFileBytes int64 `env:"KAA_MAX_RESULT_FILE_BYTES" envDefault:"268435456"`

	// Of the next, 0 is no limit, but for FairWindow. A RateBurst of 0 is replaced by
	// RateLimit.
	MaxQueueDepth       int   `env:"KAA_MAX_QUEUE_DEPTH" envDefault:"1000000"`
	MaxQueueDepthPerKey int   `env:"KAA_MAX_QUEUE_DEPTH_PER_KEY" envDefault:"200000"`
	MaxStoredPerKey     int64 `env:"KAA_MAX_STORED_BYTES_PER_KEY" envDefault:"0"`
	// MaxFiles is what the contents of all files may take where they are kept, and MaxFilesPerKey those of a key.
	MaxFiles       int64   `env:"KAA_MAX_STORED_FILE_BYTES" envDefault:"0"`
	MaxFilesPerKey int64   `env:"KAA_MAX_STORED_FILE_BYTES_PER_KEY" envDefault:"0"`
	FairWindow     int     `env:"KAA_FAIR_WINDOW" envDefault:"32"`
	ReservedSlots  string  `env:"KAA_RESERVED_SLOTS" envDefault:"auto"`
	MaxSyncWaits   int     `env:"KAA_MAX_SYNC_WAITS" envDefault:"1000"`
	MaxConnections int     `env:"KAA_MAX_CONNECTIONS" envDefault:"0"`
	BodyMemory     int64   `env:"KAA_BODY_MEMORY" envDefault:"268435456"`
	AnswerMemory   int64   `env:"KAA_ANSWER_MEMORY" envDefault:"268435456"`
	RateLimit      float64 `env:"KAA_RATE_LIMIT" envDefault:"0"`
	RateBurst      int     `env:"KAA_RATE_BURST" envDefault:"0"`

	Quotas
	RedisTLS
	Batches
	PackageSets
	OIDC

	// Sessions. Of MaxSessionsPerKey, MaxSessionMemory, MaxSessionDisk, MaxPausedPerKey and MaxVolumesPerKey 0 is no limit, of EvictAfter never, of VolumeTTL forever.
	MaxSessions           int           `env:"KAA_MAX_SESSIONS" envDefault:"100"`
	MaxSessionsPerKey     int           `env:"KAA_MAX_SESSIONS_PER_KEY" envDefault:"1000"`
	MaxSessionMemory      int64         `env:"KAA_MAX_SESSION_MEMORY_BYTES_PER_KEY" envDefault:"0"`
	MaxSessionDisk        int64         `env:"KAA_MAX_SESSION_DISK_BYTES_PER_KEY" envDefault:"0"`
	MaxSchedulesPerKey    int           `env:"KAA_MAX_SCHEDULES_PER_KEY" envDefault:"100"`
	SessionIdleTimeout    time.Duration `env:"KAA_SESSION_IDLE_TIMEOUT" envDefault:"10m"`
	MaxSessionIdleTimeout time.Duration `env:"KAA_MAX_SESSION_IDLE_TIMEOUT" envDefault:"24h"`
	SessionAge            time.Duration `env:"KAA_SESSION_AGE" envDefault:"8h"`
	MaxSessionAge         time.Duration `env:"KAA_MAX_SESSION_AGE" envDefault:"168h"`
	MaxSessionPause       time.Duration `env:"KAA_MAX_SESSION_PAUSE" envDefault:"24h"`
	MaxPausedPerKey       int           `env:"KAA_MAX_PAUSED_SESSIONS_PER_KEY" envDefault:"100"`
	MaxVolumesPerKey      int           `env:"KAA_MAX_VOLUMES_PER_KEY" envDefault:"1000"`
	VolumeTTL             time.Duration `env:"KAA_VOLUME_TTL" envDefault:"720h"`
	VolumeSaveEvery       time.Duration `env:"KAA_VOLUME_SAVE_EVERY" envDefault:"2m"`
	SessionEvictAfter     time.Duration `env:"KAA_SESSION_EVICT_AFTER" envDefault:"10m"`

	WebhookAllowPrivate bool          `env:"KAA_WEBHOOK_ALLOW_PRIVATE" envDefault:"false"`
	WebhookTimeout      time.Duration `env:"KAA_WEBHOOK_TIMEOUT" envDefault:"10s"`
	WebhookRetryFor     time.Duration `env:"KAA_WEBHOOK_RETRY_FOR" envDefault:"24h"`

	// Egress are the destinations that code may be allowed to reach; none by default, as for off.
	Egress []string `env:"KAA_EGRESS"`
	// EgressPrivate are ranges of addresses that are not public, and allowed all the same.
	EgressPrivate []string `env:"KAA_EGRESS_PRIVATE"`
	// EgressConnections are those that a sandbox may have at once, and EgressBytes those that it may send and receive; 0 is no limit.
	EgressConnections int   `env:"KAA_EGRESS_CONNECTIONS" envDefault:"64"`
	EgressBytes       int64 `env:"KAA_EGRESS_BYTES" envDefault:"1073741824"`
	// EgressIntercept lets requests have rules for HTTP, for which the proxies of sandboxes look into TLS.
	EgressIntercept bool `env:"KAA_EGRESS_INTERCEPT" envDefault:"false"`
	// SecretsFile has values of headers for such rules: see SecretsIn.
	SecretsFile string `env:"KAA_SECRETS_FILE"`

	EventBytes int `env:"KAA_EVENT_BYTES" envDefault:"8388608"`

	// AllowedOrigins are hosts, perhaps with *, whose pages may call; AllowedHosts those that
	// requests may be addressed to.
	AllowedOrigins []string `env:"KAA_ALLOWED_ORIGINS"`
	AllowedHosts   []string `env:"KAA_ALLOWED_HOSTS"`
	// PortsHost is the pattern of the host names of which each is a port of a session; empty for none.
	PortsHost string `env:"KAA_PORTS_HOST"`
	// Dialects are the protocols besides Kaa's own that the API speaks; none stand for all.
	Dialects []string `env:"KAA_DIALECTS"`
	// BasePath is the path below which callers reach the API; empty for the root, or with a slash at its beginning and none at its end.
	BasePath string `env:"KAA_BASE_PATH"`
	// Console is the page for browsers.
	Console bool `env:"KAA_CONSOLE" envDefault:"true"`
	// MetricsTenants have metrics of their own.
	MetricsTenants []string `env:"KAA_METRICS_TENANTS"`

	ResultTTL      time.Duration `env:"KAA_RESULT_TTL" envDefault:"1h"`
	MaxResultTTL   time.Duration `env:"KAA_MAX_RESULT_TTL" envDefault:"168h"`
	TombstoneTTL   time.Duration `env:"KAA_TOMBSTONE_TTL" envDefault:"1h"`
	IdempotencyTTL time.Duration `env:"KAA_IDEMPOTENCY_TTL" envDefault:"24h"`

	// UsageTTL is how long figures of usage are kept; with 0 none are counted.
	UsageTTL time.Duration `env:"KAA_USAGE_TTL" envDefault:"9600h"`

	DrainTimeout  time.Duration `env:"KAA_DRAIN_TIMEOUT" envDefault:"30s"`
	ShutdownDelay time.Duration `env:"KAA_SHUTDOWN_DELAY" envDefault:"0s"`

	LogLevel  slog.Level `env:"KAA_LOG_LEVEL" envDefault:"INFO"`
	LogFormat string     `env:"KAA_LOG_FORMAT" envDefault:"json"`
	AccessLog bool       `env:"KAA_ACCESS_LOG" envDefault:"true"`
	JobLog    bool       `env:"KAA_JOB_LOG" envDefault:"true"`
	// AuditLog is off, log, or the path of a file.
	AuditLog        string `env:"KAA_AUDIT_LOG" envDefault:"off"`
	AuditExecutions bool   `env:"KAA_AUDIT_EXECUTIONS" envDefault:"false"`

	Unknown []string // KAA_ variables that mean nothing, for a warning
}

// maxEnvs bounds the number of variables of one request; their size is what costs.
const maxEnvs = 1000

// minEventBytes leaves room for the largest event of output, escaped.
const minEventBytes = 512 << 10

// clientVariables belong to the commands of `kaa` that call a Kaa, not to a server.
func clientVariables() []string {
	return []string{"KAA_URL", "KAA_API_KEY", "KAA_CONFIG", "KAA_PROFILE", "KAA_HISTORY"}
}

// Secret is a value that logs and messages do not show.
type Secret string

func (Secret) String() string { return "***" }

// LogValue hides it from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// Queues are the queues a runner serves, with their weights: of a queue with
// weight 6 and one with weight 3, both full, the first is served twice as often.
type Queues map[string]int

// UnmarshalText reads "critical:6,default:3"; a weight that is left out is 1.
func (q *Queues) UnmarshalText(text []byte) error {
	*q = Queues{}
	for item := range strings.SplitSeq(string(text), ",") {
		name, weight, given := strings.Cut(strings.TrimSpace(item), ":")
		n := 1
		if given {
			var err error
			if n, err = strconv.Atoi(weight); err != nil || n < 1 {
				return fmt.Errorf("weight %q of queue %q is not a number above 0", weight, name)
			}
		}
		if name == "" || strings.ContainsAny(name, " \t{}:") {
			return fmt.Errorf("%q is not a queue name; write name:weight,name:weight", name)
		}
		if job.IsReservedQueue(name) {
			return fmt.Errorf("queue name %q is Kaa's own; choose another", name)
		}
		if _, twice := (*q)[name]; twice {
			return fmt.Errorf("queue %q is named twice", name)
		}
		(*q)[name] = n
	}
	return nil
}

// Names lists the queues, heaviest first.
func (q Queues) Names() []string {
	return slices.SortedFunc(maps.Keys(q), func(a, b string) int {
		if q[a] != q[b] {
			return q[b] - q[a]
		}
		return strings.Compare(a, b)
	})
}

// byDefault is the queue of a job that names none.
func (q Queues) byDefault() string {
	if _, ok := q["default"]; ok {
		return "default"
	}
	return q.Names()[0]
}

// Environment is a process's environment as os.Environ gives it.
type Environment []string

// Get returns a variable, or nothing: unset and empty are the same here.
func (e Environment) Get(name string) string {
	for _, kv := range slices.Backward(e) {
		if n, v, _ := strings.Cut(kv, "="); n == name {
			return v
		}
	}
	return ""
}

// With returns e and one more variable, which wins over an earlier one.
func (e Environment) With(name, value string) Environment {
	return append(slices.Clip(e), name+"="+value)
}

// Load reads and checks the configuration. The error names everything that
// is wrong, not only the first of it, and never a secret.
func Load(environ Environment) (Config, error) {
	vars := env.ToMap(environ)
	// An empty variable means the default, as in `KAA_API_KEYS= kaa dev` or compose.
	maps.DeleteFunc(vars, func(_, v string) bool { return v == "" })
	var c Config
	var problems []error
	var unread []string // variables whose value could not even be read
	if err := env.ParseWithOptions(&c, env.Options{Environment: vars}); err != nil {
		problems, unread = parseProblems(err)
	}
	more, names := c.readQuotas(vars)
	problems, unread = append(problems, more...), append(unread, names...)
	for name, keys := range map[string]*[]Secret{"KAA_API_KEYS": &c.APIKeys, "KAA_ADMIN_KEYS": &c.AdminKeys} {
		if *keys = trimmed(*keys); vars[name] != "" && len(*keys) == 0 {
			// An operator who writes that means to ask for keys.
			problems = append(problems, fmt.Errorf("%s is set and has no key in it", name))
		}
	}
	for _, hosts := range [][]string{c.AllowedOrigins, c.AllowedHosts} {
		for i, h := range hosts {
			hosts[i] = strings.TrimSpace(h)
		}
	}
	c.Audiences = trimmed(c.Audiences)
	c.MetricsTenants = trimmed(c.MetricsTenants)
	c.Dialects = trimmed(c.Dialects)
	c.BasePath = strings.TrimRight(c.BasePath, "/")
	if c.Concurrency == 0 {
		// Code waits as often as it computes, so more than one per core.
		c.Concurrency = max(4, 2*runtime.NumCPU())
	}
	if c.Parked == 0 {
		// More would only hold memory: a core forks hundreds of workers a second.
		c.Parked = max(0, min(c.Concurrency, 4*runtime.NumCPU()))
	}
	if c.RateBurst == 0 && c.RateLimit <= job.MaxRate {
		c.RateBurst = max(1, int(c.RateLimit))
	}
	if err := c.resolveRuntimes(); err != nil {
		problems = append(problems, err)
	}
	c.Unknown = unknownVariables(vars)
	// A value that could not be read is zero now, which is no second mistake.
	problems = append(problems, slices.DeleteFunc(c.check(), func(err error) bool {
		return slices.ContainsFunc(unread, func(name string) bool { return strings.Contains(err.Error(), name) })
	})...)
	problems = append(problems, c.checkAddr()...)
	return c, errors.Join(problems...)
}

// parseProblems words the parser's errors by the names that operators know, and
// returns the names of the variables that they concern.
func parseProblems(err error) (problems []error, names []string) {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}, nil
	}
	for _, e := range all.Errors {
		if parse, ok := errors.AsType[env.ParseError](e); ok {
			if f, ok := reflect.TypeFor[Config]().FieldByName(parse.Name); ok {
				names = append(names, f.Tag.Get("env"))
				e = fmt.Errorf("%s: %w", f.Tag.Get("env"), parse.Err)
			}
		}
		problems = append(problems, e)
	}
	return problems, names
}

// check finds what no single value shows.
func (c *Config) check() []error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for name, v := range map[string]int64{
		"KAA_MAX_BODY_BYTES": c.MaxBodyBytes, "KAA_MAX_CODE_BYTES": int64(c.MaxCodeBytes),
		"KAA_MAX_ATTEMPTS": int64(c.MaxAttempts), "KAA_FAIR_WINDOW": int64(c.FairWindow),
		"KAA_DEFAULT_TIMEOUT": int64(c.DefaultTimeout), "KAA_MAX_TIMEOUT": int64(c.MaxTimeout), "KAA_KILL_GRACE": int64(c.KillGrace),
		"KAA_SYNC_QUEUE_WAIT": int64(c.SyncQueueWait), "KAA_START_PATIENCE": int64(c.StartPatience), "KAA_RESULT_TTL": int64(c.ResultTTL), "KAA_MAX_RESULT_TTL": int64(c.MaxResultTTL),
		"KAA_TOMBSTONE_TTL": int64(c.TombstoneTTL), "KAA_IDEMPOTENCY_TTL": int64(c.IdempotencyTTL), "KAA_DRAIN_TIMEOUT": int64(c.DrainTimeout),
		"KAA_WEBHOOK_TIMEOUT": int64(c.WebhookTimeout), "KAA_MAX_SESSION_PAUSE": int64(c.MaxSessionPause), "KAA_VOLUME_SAVE_EVERY": int64(c.VolumeSaveEvery),
	} {
		if v <= 0 {
			bad("%s must be above 0", name)
		}
	}
	for name, v := range map[string]int64{
		"KAA_MAX_STDIN_BYTES": int64(c.MaxStdinBytes), "KAA_MAX_ENV_BYTES": int64(c.MaxEnvBytes), "KAA_MAX_METADATA_BYTES": int64(c.MaxMetadataBytes),
		"KAA_CONCURRENCY": int64(c.Concurrency), "KAA_PARKED": int64(c.Parked), "KAA_MAX_DELAY": int64(c.MaxDelay),
		"KAA_MAX_QUEUE_DEPTH": int64(c.MaxQueueDepth), "KAA_MAX_QUEUE_DEPTH_PER_KEY": int64(c.MaxQueueDepthPerKey),
		"KAA_MAX_STORED_BYTES_PER_KEY": c.MaxStoredPerKey, "KAA_MAX_STORED_FILE_BYTES": c.MaxFiles, "KAA_MAX_STORED_FILE_BYTES_PER_KEY": c.MaxFilesPerKey,
		"KAA_MAX_SYNC_WAITS": int64(c.MaxSyncWaits), "KAA_MAX_CONNECTIONS": int64(c.MaxConnections), "KAA_BODY_MEMORY": c.BodyMemory, "KAA_RATE_BURST": int64(c.RateBurst), "KAA_WEBHOOK_RETRY_FOR": int64(c.WebhookRetryFor),
		"KAA_ANSWER_MEMORY": c.AnswerMemory, "KAA_EGRESS_BYTES": c.EgressBytes,
		"KAA_USAGE_TTL": int64(c.UsageTTL), "KAA_SHUTDOWN_DELAY": int64(c.ShutdownDelay), "KAA_MAX_SESSIONS": int64(c.MaxSessions),
		"KAA_MAX_SESSIONS_PER_KEY": int64(c.MaxSessionsPerKey), "KAA_MAX_SESSION_MEMORY_BYTES_PER_KEY": c.MaxSessionMemory, "KAA_MAX_SESSION_DISK_BYTES_PER_KEY": c.MaxSessionDisk, "KAA_MAX_PAUSED_SESSIONS_PER_KEY": int64(c.MaxPausedPerKey), "KAA_MAX_SCHEDULES_PER_KEY": int64(c.MaxSchedulesPerKey), "KAA_MAX_VOLUMES_PER_KEY": int64(c.MaxVolumesPerKey), "KAA_VOLUME_TTL": int64(c.VolumeTTL), "KAA_SESSION_EVICT_AFTER": int64(c.SessionEvictAfter),
		"KAA_MAX_UPLOADS": int64(c.MaxUploads), "KAA_MAX_UPLOAD_BYTES": c.MaxUploadBytes, "KAA_MAX_FILE_UPLOAD_BYTES": c.MaxFileUploadBytes,
		"KAA_MAX_RESULT_FILES": int64(c.MaxResultFiles), "KAA_MAX_RESULT_FILE_BYTES": c.MaxResultFileBytes,
	} {
		if v < 0 {
			bad("%s must not be negative", name)
		}
	}
	for name, v := range map[string]time.Duration{
		"KAA_RESULT_TTL": c.ResultTTL, "KAA_MAX_RESULT_TTL": c.MaxResultTTL, "KAA_TOMBSTONE_TTL": c.TombstoneTTL, "KAA_IDEMPOTENCY_TTL": c.IdempotencyTTL,
	} {
		if v > 0 && v < time.Second {
			bad("%s must be at least 1s", name)
		}
	}
	if c.UsageTTL > 0 && c.UsageTTL < 48*time.Hour {
		bad("KAA_USAGE_TTL must be 0, or at least 48h: a day's figures have to outlive it")
	}
	c.Batches.check(bad)
	c.PackageSets.check(bad)
	c.checkTenants(bad)
	if c.DefaultTimeout > c.MaxTimeout {
		bad("KAA_DEFAULT_TIMEOUT (%s) is above KAA_MAX_TIMEOUT (%s)", c.DefaultTimeout, c.MaxTimeout)
	}
	for name, v := range map[string][2]time.Duration{
		"SESSION_IDLE_TIMEOUT": {c.SessionIdleTimeout, c.MaxSessionIdleTimeout}, "SESSION_AGE": {c.SessionAge, c.MaxSessionAge},
	} {
		if v[0] < time.Second {
			bad("KAA_%s must be at least 1s", name)
		} else if v[0] > v[1] {
			bad("KAA_%[1]s (%[2]s) is above KAA_MAX_%[1]s (%[3]s)", name, v[0], v[1])
		}
	}
	if c.ResultTTL > c.MaxResultTTL {
		bad("KAA_RESULT_TTL (%s) is above KAA_MAX_RESULT_TTL (%s)", c.ResultTTL, c.MaxResultTTL)
	}
	if n, err := strconv.Atoi(c.ReservedSlots); c.ReservedSlots != store.ReserveAuto && (err != nil || n < 0) {
		bad("KAA_RESERVED_SLOTS is %q; use auto or a number that is not negative", c.ReservedSlots)
	}
	c.checkHosts(bad)
	c.checkBasePath(bad)
	c.checkEgress(bad)
	if c.EventBytes < minEventBytes {
		bad("KAA_EVENT_BYTES must be at least %d", minEventBytes)
	}
	if c.BodyMemory > 0 && c.BodyMemory < c.MaxBodyBytes {
		bad("KAA_BODY_MEMORY (%d) is below KAA_MAX_BODY_BYTES (%d)", c.BodyMemory, c.MaxBodyBytes)
	} else if c.BodyMemory > 0 && !c.OneCaller() && c.BodyMemory/2 < c.MaxBodyBytes {
		bad("KAA_BODY_MEMORY (%d) is below twice KAA_MAX_BODY_BYTES (%d): a key gets half of it", c.BodyMemory, c.MaxBodyBytes)
	}
	if c.RateLimit != 0 && !(c.RateLimit >= job.MinRate && c.RateLimit <= job.MaxRate) {
		bad("KAA_RATE_LIMIT must be 0, or from %g to %g requests a second", job.MinRate, job.MaxRate)
	}
	if c.AuditLog != telemetry.AuditOff && c.AuditLog != telemetry.AuditLog && !filepath.IsAbs(c.AuditLog) {
		bad("KAA_AUDIT_LOG is %q; use off, log, or the absolute path of a file", c.AuditLog)
	}
	if !slices.Contains([]string{telemetry.LogJSON, telemetry.LogText, telemetry.LogConsole}, c.LogFormat) {
		bad("KAA_LOG_FORMAT is %q; use json, text or console", c.LogFormat)
	}
	if !slices.Contains([]string{"strict", "basic", "none", "auto"}, c.Sandbox) {
		bad("KAA_SANDBOX is %q; use strict, basic, none or auto", c.Sandbox)
	}
	c.Quotas.check(bad)
	c.OIDC.check(bad)
	if _, err := RedisOptions(c); err != nil {
		problems = append(problems, err)
	}
	if _, err := blob.Parse(c.BlobPlace()); err != nil {
		bad("KAA_BLOB_URL %w", err)
	}
	if c.RunnerAddr != "" {
		if err := checkHostPort(c.RunnerAddr); err != nil {
			bad("KAA_RUNNER_ADDR is not host:port: %w", err)
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return problems
}

// checkHostPort finds what only listening would show.
func checkHostPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port; use a number from 0 to 65535", port)
	}
	return nil
}

// checkAddr refuses addresses at which other machines could call without a key by accident.
func (c *Config) checkAddr() []error {
	if err := checkHostPort(c.Addr); err != nil {
		return []error{fmt.Errorf("KAA_ADDR is not host:port: %w", err)}
	}
	if c.Open() && !c.AllowAnonymous {
		return []error{fmt.Errorf("KAA_ADDR %q is reachable from outside and KAA_API_KEYS is empty: "+
			"set keys or KAA_OIDC_ISSUER, listen on 127.0.0.1, or set KAA_ALLOW_ANONYMOUS=true to let every client run code", c.Addr)}
	}
	return nil
}

// Reserve is how many slots a key's jobs leave to other keys; empty where there are none.
func (c *Config) Reserve() string {
	n, err := strconv.Atoi(c.ReservedSlots)
	switch {
	case c.OneCaller() || err == nil && n == 0:
		return ""
	case err == nil:
		return strconv.Itoa(n)
	}
	return store.ReserveAuto
}

// OneCaller says whether all callers are one, which shares with no other.
func (c *Config) OneCaller() bool { return len(c.APIKeys)+len(c.AdminKeys) < 2 && !c.HasTenants() }

// HasTenants says whether callers can be tenants: by keys in a file, or in Redis, where a key with
// the scope admin puts them, or by tokens.
func (c *Config) HasTenants() bool {
	return c.APIKeysFile != "" || len(c.AdminKeys) > 0 || c.Issuer != ""
}

// Keyless says whether callers need neither a key nor a token.
func (c *Config) Keyless() bool { return len(c.APIKeys) == 0 && !c.HasTenants() }

// Open says whether other machines can call the API without a key.
func (c *Config) Open() bool {
	host, _, err := net.SplitHostPort(c.Addr)
	ip := net.ParseIP(host)
	loopback := host == "localhost" || (ip != nil && ip.IsLoopback())
	return err == nil && !loopback && c.Keyless()
}

func unknownVariables(vars map[string]string) []string {
	known := clientVariables()
	for _, s := range Settings() {
		known = append(known, s.Name)
	}
	var unknown []string
	for name := range vars {
		if strings.HasPrefix(name, "KAA_") && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// Limits are the bounds of a request.
func (c *Config) Limits() job.Limits {
	return job.Limits{
		MaxCodeBytes: c.MaxCodeBytes, MaxStdinBytes: c.MaxStdinBytes,
		MaxEnvs: maxEnvs, MaxEnvBytes: c.MaxEnvBytes, MaxMetadataBytes: c.MaxMetadataBytes,
		DefaultTimeout: c.DefaultTimeout, MaxTimeout: c.MaxTimeout, MaxDelay: c.MaxDelay,
		DefaultResultTTL: c.ResultTTL, MaxResultTTL: c.MaxResultTTL, MaxAttempts: c.MaxAttempts,
		Queues: c.Queues.Names(), DefaultQueue: c.Queues.byDefault(),
		Sessions: job.SessionLimits{
			IdleTimeout: c.SessionIdleTimeout, MaxIdleTimeout: c.MaxSessionIdleTimeout, Age: c.SessionAge, MaxAge: c.MaxSessionAge,
			MaxPause: c.MaxSessionPause, MaxPaused: c.MaxPausedPerKey,
		},
		MaxInputs: c.MaxUploads, MaxInputBytes: c.MaxUploadBytes,
		DefaultQuota: c.DefaultQuota(), MaxQuota: c.MaxQuota(), PrivateWebhooks: c.WebhookAllowPrivate, Packages: c.PackageLimits(),
		Egress: c.EgressRules(), Intercept: c.EgressIntercept,
	}
}
