// Package store keeps Kaa's state in Redis: job records, idempotency keys, the
// outbox of tasks to enqueue, the runner registry and the cancel flags. Every
// change of a job's state is one compare-and-set Lua script (lua/), tested
// against the pure model in internal/job; asynq only dispatches the ids of these jobs.
//
// The api, the runner and the maintenance loops call it, each through a narrow
// interface of its own. Methods are safe for concurrent use, block for the
// Redis round trip, and fail with the sentinels of internal/job: job.ErrNotFound,
// job.ErrGone, job.ErrStale, job.ErrFinished, job.ErrIdempotencyMismatch, and
// job.ErrUnavailable when Redis does not answer. go-redis repeats a command after
// a lost connection, so every script can run twice with the effect of once.
//
// Keys (all in one hash slot by the tag {kaa}):
//
//	{kaa}:schema                  HASH    version of the records
//	{kaa}:job:<id>                HASH    the record; expires resultTtl after its end
//	{kaa}:events:<id>             STREAM  events, for followers of the job; expires with the record
//	{kaa}:gone:<id>               STRING  tombstone, for 410 instead of 404; of an execution of a session: its owner
//	{kaa}:removed:<id>            STRING  nonce of the deletion of the record
//	{kaa}:jobs:<queue>:<state>    ZSET    listing, by id, which is by age; executions of sessions also have one per caller,
//	                                      with the queue sessions:of:<caller>
//	{kaa}:queues                  SET     queues that have had a job
//	{kaa}:outbox                  ZSET    job → when its task must be (or have been) enqueued
//	{kaa}:expiry                  ZSET    entries to take out of the listings, by time
//	{kaa}:waiting                 HASH    caller → number of its jobs that are scheduled or queued
//	{kaa}:bytes                   HASH    caller → bytes of its jobs and results; * → those of all
//	{kaa}:bytes:<time>            HASH    caller → bytes that are released then; {kaa}:bytes:due lists the times
//	{kaa}:seats:<queue>:<caller>  SET     the caller's window: its jobs that are admitted to asynq's queue
//	{kaa}:held:<queue>:<caller>   ZSET    its held jobs, by the time since which they are ready
//	{kaa}:running:<caller>        HASH    running jobs of the caller that leave slots to others: job → runner
//	{kaa}:fleet:<queue>           HASH    slots of the runners that take jobs of a queue, '' → of all; remade every 2 s
//	{kaa}:holding                 SET     "queue caller" of callers with held jobs
//	{kaa}:hooks                   ZSET    ended jobs whose webhook is to be delivered, by when
//	{kaa}:blobs                   ZSET    ended jobs with files, by when their blobs may go, and those that are not recorded yet
//	{kaa}:kept:<id>               HASH    bytes of each part of a job's files, and their caller, until its blobs are deleted
//	{kaa}:files                   HASH    caller → bytes of its files; * → those of all
//	{kaa}:rate:<caller>           STRING  when the caller's rate limit is whole again, in µs
//	{kaa}:idem:<hash>             STRING  idempotency key → fingerprint and job
//	{kaa}:runners                 SET     runners; {kaa}:runner:<id> expires with the heartbeat
//	{kaa}:runner:<id>:jobs        SET     the runner's claims
//	{kaa}:session:<id>            HASH    the record of a session; expires some time after its end
//	{kaa}:session:<id>:jobs       ZSET    its executions that wait, by the order of their acceptance
//	{kaa}:sessions                ZSET    live sessions, by when they end unless they are used
//	{kaa}:sessions:busy           SET     those with executions
//	{kaa}:sessions:of:<caller>    ZSET    a caller's live sessions, by id
//	{kaa}:runner:<id>:sessions    SET     live sessions on a runner
//	{kaa}:runner:<id>:ready       SET     those with an execution that the runner is to claim
//	{kaa}:elected:<task>          STRING  a process does it; expires when it is due again
//	{kaa}:ready                   STRING  written to check whether Redis takes writes
//	{kaa}:waiters                 SET     processes whose callers wait; {kaa}:waiter:<id> expires with the lease
//	{kaa}:waiter:<id>:jobs        SET     what they wait for
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	prefix      = "{kaa}:"
	outboxKey   = prefix + "outbox"
	expiryKey   = prefix + "expiry"
	bytesDueKey = prefix + "bytes:due"
	queuesKey   = prefix + "queues"
	runnersKey  = prefix + "runners"
	readyKey    = prefix + "ready"
	waitersKey  = prefix + "waiters"
	holdingKey  = prefix + "holding"
	hooksKey    = prefix + "hooks"
	sessionsKey = prefix + "sessions"
	blobsKey    = prefix + "blobs"
	schemaKey   = prefix + "schema"
)

func jobKey(id string) string    { return prefix + "job:" + id }
func eventsKey(id string) string { return prefix + "events:" + id }
func goneKey(id string) string   { return prefix + "gone:" + id }
func runnerKey(id string) string { return prefix + "runner:" + id }
func waiterKey(id string) string { return prefix + waiterMember(id) }

// waiterMember is the name of a waiter in a set, which distinguishes it from a runner where both
// are read.
func waiterMember(id string) string { return "waiter:" + id }

func indexKey(queue string, state job.State) string {
	return prefix + "jobs:" + queue + ":" + string(state)
}
func idempotencyKey(scope, key string) string  { return prefix + "idem:" + digest(scope, key) }
func finishedChannel(subscriber string) string { return prefix + "finished:" + subscriber }

//go:embed lua/*.lua
var luaFiles embed.FS

// Config has the store's lifetimes and bounds. The zero value of a field means its default.
type Config struct {
	TombstoneTTL   time.Duration // time after a record's end during which 410 is answered instead of 404; 1 h
	IdempotencyTTL time.Duration // 24 h
	// OutboxDelay is the time after a job's creation at which the maintenance loop enqueues it,
	// unless it was confirmed as enqueued; 5 s.
	OutboxDelay time.Duration
	// RunnerTTL is the life of a runner without a heartbeat, and of the lease of an API process
	// with waiting callers; 8 s.
	RunnerTTL time.Duration
	// MaxDepth is the largest number of waiting jobs on one queue, MaxCallerDepth that of one
	// caller on all queues; 0 is no limit.
	MaxDepth, MaxCallerDepth int
	// MaxCallerBytes is the largest number of bytes of the records of one caller, results
	// included, until they expire. 0 is half of Redis' memory if that is bounded, or all of it
	// with OneCaller.
	MaxCallerBytes int64
	OneCaller      bool
	// MaxFiles is the largest number of bytes of all files in the blob store, and MaxCallerFiles
	// that of one caller. 0 is no limit; for the latter it is the number that is free then, or
	// all with OneCaller.
	MaxFiles, MaxCallerFiles int64
	// EventBytes is the largest number of bytes of events that a runner keeps of an attempt; 8 MiB.
	EventBytes int
	// Window is the largest number of jobs of one caller on one of asynq's queues at once; 32.
	Window int
	// Reserve is the number of slots of the runners that a caller's jobs leave to those of
	// others: a number, or ReserveAuto for an eighth of them, at least one. Empty is no bound.
	Reserve string
	// MaxMetadata is the largest size of a job's metadata, in bytes.
	MaxMetadata int64
	// HookTTL is the longest life of a record for the delivery of its webhook; 25 h.
	HookTTL time.Duration
	// MaxCallerSessions is the largest number of live sessions of a caller; 0 is no limit.
	MaxCallerSessions int
	// EvictAfter is the idle time after which a session may be evicted for another when all
	// runners are full; 0 is never.
	EvictAfter time.Duration
	// Schema is the version of the records.
	Schema SchemaConfig
	// Enqueue returns the commands that enqueue a job's task, for the step that records the job.
	// It returns nil if that is impossible. By default there are none.
	Enqueue func(ctx context.Context, j job.Job) [][]any
}

// ReserveAuto is a Reserve that grows with the fleet.
const ReserveAuto = "auto"

// maxSessionDepth is the largest number of waiting executions in one session.
const maxSessionDepth = 10_000

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
	}
	set(&c.TombstoneTTL, time.Hour)
	set(&c.IdempotencyTTL, 24*time.Hour)
	set(&c.OutboxDelay, 5*time.Second)
	set(&c.RunnerTTL, 8*time.Second)
	set(&c.HookTTL, 25*time.Hour)
	if c.EventBytes == 0 {
		c.EventBytes = 8 << 20
	}
	if c.Window == 0 {
		c.Window = 32
	}
	c.Schema = c.Schema.withDefaults()
	return c
}

// Store is a handle on the records. It does not own the client.
type Store struct {
	rdb     redis.UniversalClient
	cfg     Config
	scripts scripts
	memory  memory
	large   chan struct{} // has a token for each large result that is being written
}

type scripts struct {
	create, due, enqueued, claim, finish, reject, cancel, watch, rescue, sweep, unattended, rate, hooks, hooked script
	mend, waiting, requeue, events, follow, expired, drop, room, forget, remove                                 script
	open, fork, next, close, interrupt, sessions, leave, observe, input, unstarted, unclaim, move, joined       script
	waits, schema                                                                                               script
}

// New returns a store on rdb.
func New(rdb redis.UniversalClient, cfg Config) *Store {
	cfg = cfg.withDefaults()
	common := tellLua + readLua("common")
	functions := luaFunction.FindAllStringSubmatchIndex(common, -1)
	before := func(body string) string { return constants(cfg) + needed(common, functions, body) }
	script := func(name string) script { return newScript(name, readLua(name), before) }
	return &Store{rdb: rdb, cfg: cfg, large: make(chan struct{}, largeAtOnce), scripts: scripts{
		create: script("create"), due: script("due"), enqueued: script("enqueued"),
		claim: script("claim"), finish: script("finish"), reject: script("reject"),
		cancel: script("cancel"), watch: script("watch"), rescue: script("rescue"), sweep: script("sweep"),
		mend: script("mend"), waiting: script("waiting"), requeue: script("requeue"),
		events: script("events"), follow: script("follow"),
		unattended: script("unattended"), rate: script("rate"), hooks: script("hooks"), hooked: script("hooked"),
		open: script("open"), fork: script("fork"), next: script("next"), close: script("close"), interrupt: script("interrupt"),
		sessions: script("sessions"), leave: script("leave"), observe: script("observe"), input: script("input"),
		unstarted: script("unstarted"), unclaim: script("unclaim"), move: script("move"), joined: script("joined"),
		expired: script("expired"), drop: script("drop"), room: script("room"), forget: script("forget"), remove: script("remove"),
		waits: script("waits"), schema: script("schema"),
	}}
}

// constants are the bounds for the scripts, which precede each script.
func constants(cfg Config) string {
	return fmt.Sprintf("local MAX_FILES, MAX_CALLER_FILES, MAX_EVENTS = %d, %d, %d\n", cfg.MaxFiles, cfg.MaxCallerFiles, cfg.EventBytes) +
		fmt.Sprintf("local MAX_DEPTH, MAX_CALLER_DEPTH, WINDOW, HOOK_TTL = %d, %d, %d, %d\n",
			cfg.MaxDepth, cfg.MaxCallerDepth, cfg.Window, cfg.HookTTL.Milliseconds()) +
		fmt.Sprintf("local MAX_CALLER_SESSIONS, MAX_SESSION_DEPTH, EVICT_AFTER, LOG_TTL = %d, %d, %d, %d\n",
			cfg.MaxCallerSessions, maxSessionDepth, cfg.EvictAfter.Milliseconds(), (2*observeLease).Milliseconds()) +
		fmt.Sprintf("local RESERVE = '%s'\n", cfg.Reserve)
}

// readLua reads an embedded script. A missing one is an error of the build.
func readLua(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// luaFunction is a function of common.lua.
var luaFunction = regexp.MustCompile(`(?m)^local function (\w+)(?:.* end|(?:.*\n)+?end)\n`)

// needed returns a script preceded by the parts of common that it needs; functions are their
// places in common. Redis makes each function anew whenever a script runs. Making all of them
// takes longer than the script.
func needed(common string, functions [][]int, body string) string {
	for _, at := range slices.Backward(functions) { // one uses only those before it
		name := common[at[2]:at[3]]
		if !calls(common[at[1]:], name) && !calls(body, name) {
			common = common[:at[0]] + common[at[1]:]
		}
	}
	return common + body
}

// calls reports whether text calls a function. A regular expression for each function would cost
// more than all else at the start of a process.
func calls(text, function string) bool {
	for before, after, found := strings.Cut(text, function+"("); found; before, after, found = strings.Cut(after, function+"(") {
		if before == "" || !strings.ContainsRune(wordRunes, rune(before[len(before)-1])) {
			return true
		}
	}
	return false
}

const wordRunes = "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Ready reports whether Redis takes writes. An answer is not enough: a replica, a full Redis and
// one that cannot write to its disk answer too.
func (s *Store) Ready(ctx context.Context) error {
	return wrap("try to write", s.rdb.Set(ctx, readyKey, "", time.Minute).Err())
}

// reply is the answer of the state scripts: a word, and its values.
type reply []any

func (r reply) word() string { return r.text(0) }

func (r reply) text(i int) string {
	if i >= len(r) {
		return ""
	}
	switch v := r[i].(type) {
	case string:
		return v
	case int64:
		return fmt.Sprint(v)
	}
	return ""
}

func wordError(op string, r reply) error {
	switch r.word() {
	case "missing":
		return fmt.Errorf("%s: %w", op, job.ErrNotFound)
	case "gone":
		return fmt.Errorf("%s: %w", op, job.ErrGone)
	case "stale":
		return fmt.Errorf("%s: %w", op, job.ErrStale)
	case "finished":
		return fmt.Errorf("%s: %w", op, job.ErrFinished)
	case "unfinished":
		return fmt.Errorf("%s: %w", op, job.ErrUnfinished)
	case "no_session":
		return fmt.Errorf("%s: %w", op, job.ErrNoSession)
	case "session_ended":
		return fmt.Errorf("%s: %w", op, &job.SessionEndedError{SessionEnd: job.SessionEnd{Reason: job.EndReason(r.text(1)), Message: r.text(2)}})
	case "no_room":
		return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, job.ErrStoreFull)
	case "mismatch":
		return fmt.Errorf("%s: %w", op, job.ErrIdempotencyMismatch)
	}
	return nil
}

// wrap adds the operation. It marks errors that are worth a retry as job.ErrUnavailable: every
// network error, and the replies of a Redis that is starting, failing over or full. Other
// replies are errors in Kaa.
func wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	}
	// This comes before the check of the deadline, because a dial that timed out is one, too.
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, hideDeadline{err})
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		switch text := reply.Error(); {
		case !transient(text):
			return fmt.Errorf("%s: %w", op, err)
		case strings.HasPrefix(text, "OOM") || strings.Contains(text, "-OOM"):
			return fmt.Errorf("%s: %w: %w: %w", op, job.ErrUnavailable, job.ErrStoreFull, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, err)
}

// hideDeadline keeps the text of a network error but not its kind: for callers,
// context.DeadlineExceeded means the end of their own context.
type hideDeadline struct{ err error }

func (e hideDeadline) Error() string { return e.err.Error() }

func transient(reply string) bool {
	for _, p := range []string{"LOADING", "READONLY", "OOM", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED"} {
		if strings.HasPrefix(reply, p) {
			return true
		}
	}
	return false
}
