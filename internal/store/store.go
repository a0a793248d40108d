// Package store keeps Kaa's truth in Redis: job records, idempotency keys, the
// outbox of tasks to enqueue, the runner registry and the cancel flags. Every
// change of a job's state is one compare-and-set Lua script (lua/), tested
// against the pure model in internal/job; asynq only dispatches what is written
// here.
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
//	{kaa}:job:<id>                HASH    the record; expires resultTtl after its end
//	{kaa}:events:<id>             STREAM  what happens, for those who follow the job live; expires with the record
//	{kaa}:gone:<id>               STRING  tombstone, so that 410 is told from 404; of what a session executed: whose it was
//	{kaa}:removed:<id>            STRING  who has just deleted the record
//	{kaa}:jobs:<queue>:<state>    ZSET    listing, by id, which is by age; of what sessions execute also one per caller,
//	                                      where the queue is sessions:of:<caller>
//	{kaa}:queues                  SET     queues that have had a job
//	{kaa}:outbox                  ZSET    job → when its task must be (or have been) enqueued
//	{kaa}:expiry                  ZSET    entries to take out of the listings, by time
//	{kaa}:waiting                 HASH    caller → how many of its jobs are scheduled or queued
//	{kaa}:bytes                   HASH    caller → how many bytes its jobs and results take; * → those of all
//	{kaa}:bytes:<time>            HASH    caller → how many of them are given back then; {kaa}:bytes:due lists the times
//	{kaa}:seats:<queue>:<caller>  SET     the caller's jobs that may be on asynq's queue
//	{kaa}:held:<queue>:<caller>   ZSET    its jobs that wait for a seat, by the time they are ready since
//	{kaa}:running:<caller>        HASH    what the caller's jobs execute that leave slots to others: job → runner
//	{kaa}:fleet:<queue>           HASH    slots of the runners that take jobs of a queue, '' → of all; remade every 2 s
//	{kaa}:holding                 SET     "queue caller" of those that have jobs held
//	{kaa}:hooks                   ZSET    ended jobs whose webhook is to be delivered, by when
//	{kaa}:blobs                   ZSET    ended jobs with files, by when their blobs may go, and those that are not recorded yet
//	{kaa}:kept:<id>               HASH    what parts of a job's files take, and whose they are, until its blobs are deleted
//	{kaa}:files                   HASH    caller → how many bytes its files take; * → those of all
//	{kaa}:rate:<caller>           STRING  when the caller's rate limit is whole again, in µs
//	{kaa}:idem:<hash>             STRING  idempotency key → fingerprint and job
//	{kaa}:runners                 SET     runners; {kaa}:runner:<id> expires with the heartbeat
//	{kaa}:runner:<id>:jobs        SET     what the runner has claimed
//	{kaa}:session:<id>            HASH    the record of a session; expires some time after its end
//	{kaa}:session:<id>:jobs       ZSET    its executions that wait, by the order of their acceptance
//	{kaa}:sessions                ZSET    live sessions, by when they end unless they are used
//	{kaa}:sessions:busy           SET     those that have something to do
//	{kaa}:sessions:of:<caller>    ZSET    a caller's live sessions, by id
//	{kaa}:runner:<id>:sessions    SET     live sessions on a runner
//	{kaa}:runner:<id>:ready       SET     those with an execution that the runner is to claim
//	{kaa}:elected:<what>          STRING  somebody does it; expires when it is due again
//	{kaa}:ready                   STRING  nothing; written to see whether that works
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
)

func jobKey(id string) string    { return prefix + "job:" + id }
func eventsKey(id string) string { return prefix + "events:" + id }
func goneKey(id string) string   { return prefix + "gone:" + id }
func runnerKey(id string) string { return prefix + "runner:" + id }
func waiterKey(id string) string { return prefix + waiterMember(id) }

// waiterMember is how the set of waiters names one: so that it is told from a
// runner where both are looked at.
func waiterMember(id string) string { return "waiter:" + id }

func indexKey(queue string, state job.State) string {
	return prefix + "jobs:" + queue + ":" + string(state)
}
func idempotencyKey(scope, key string) string  { return prefix + "idem:" + digest(scope, key) }
func cancelChannel(runner string) string       { return prefix + "cancel:" + runner }
func finishedChannel(subscriber string) string { return prefix + "finished:" + subscriber }

//go:embed lua/*.lua
var luaFiles embed.FS

// Config are the store's lifetimes. The zero value of a field means its default.
type Config struct {
	TombstoneTTL   time.Duration // how long 410 is told from 404 after a record's end; 1 h
	IdempotencyTTL time.Duration // 24 h
	// OutboxDelay is how long after its creation a job that nobody confirmed as
	// enqueued is enqueued by the maintenance loop; 5 s.
	OutboxDelay time.Duration
	// RunnerTTL is how long a runner lives without a heartbeat, and an API process
	// with callers who wait; 8 s.
	RunnerTTL time.Duration
	// MaxDepth is how many jobs may wait on one queue, MaxCallerDepth how many of one
	// caller on all queues; 0 is no limit.
	MaxDepth, MaxCallerDepth int
	// MaxCallerBytes is how many bytes the records of one caller may take, results included, until
	// they expire; 0 is half of what Redis may use if that is bounded, or all of it with OneCaller.
	MaxCallerBytes int64
	OneCaller      bool
	// MaxFiles is how many bytes the contents of all files may take, where blobs are, and MaxCallerFiles
	// those of one caller; 0 is no limit, and for the latter as many as are free then, or all with OneCaller.
	MaxFiles, MaxCallerFiles int64
	// Window is how many jobs of one caller may be on one of asynq's queues at once; 32.
	Window int
	// Reserve is how many slots of the runners a caller's jobs leave to those of others: a number, or
	// ReserveAuto for an eighth of them, at least one. Empty is no bound.
	Reserve string
	// MaxMetadata is the size of a job's metadata at most, in bytes.
	MaxMetadata int64
	// HookTTL is how long a record stays at most for its webhook to be delivered; 25 h.
	HookTTL time.Duration
	// MaxCallerSessions is how many live sessions a caller may have; 0 is no limit.
	MaxCallerSessions int
	// EvictAfter is how long a session must have been idle to make place for another
	// when all runners are full; 0 is never.
	EvictAfter time.Duration
	// Enqueue returns the commands that put a job's task on its queue, to be run in the
	// step that records the job; nil if that cannot be, and by default.
	Enqueue func(ctx context.Context, j job.Job) [][]any
}

// ReserveAuto is a Reserve that grows with the fleet.
const ReserveAuto = "auto"

// maxSessionDepth is how many executions may wait in one session.
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
	if c.Window == 0 {
		c.Window = 32
	}
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
	create, due, enqueued, claim, finish, reject, cancel, watch, rescue, sweep, unattended, rate, hooks, hooked *redis.Script
	mend, waiting, requeue, events, follow, expired, drop, room, forget, remove                                 *redis.Script
	open, fork, next, close, interrupt, sessions, leave, observe, input, unstarted, unclaim, move, joined       *redis.Script
}

// New returns a store on rdb.
func New(rdb redis.UniversalClient, cfg Config) *Store {
	cfg = cfg.withDefaults()
	common := readLua("common")
	functions := luaFunction.FindAllStringSubmatchIndex(common, -1)
	script := func(name string) *redis.Script {
		return redis.NewScript(constants(cfg) + needed(common, functions, readLua(name)))
	}
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
	}}
}

// constants are the bounds that the scripts keep, in front of each.
func constants(cfg Config) string {
	return fmt.Sprintf("local MAX_FILES, MAX_CALLER_FILES = %d, %d\n", cfg.MaxFiles, cfg.MaxCallerFiles) +
		fmt.Sprintf("local MAX_DEPTH, MAX_CALLER_DEPTH, WINDOW, HOOK_TTL = %d, %d, %d, %d\n",
			cfg.MaxDepth, cfg.MaxCallerDepth, cfg.Window, cfg.HookTTL.Milliseconds()) +
		fmt.Sprintf("local MAX_CALLER_SESSIONS, MAX_SESSION_DEPTH, EVICT_AFTER, LOG_TTL = %d, %d, %d, %d\n",
			cfg.MaxCallerSessions, maxSessionDepth, cfg.EvictAfter.Milliseconds(), (2*observeLease).Milliseconds()) +
		fmt.Sprintf("local RESERVE = '%s'\n", cfg.Reserve)
}

// readLua reads an embedded script; a missing one is a build mistake.
func readLua(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// luaFunction is a function of common.lua.
var luaFunction = regexp.MustCompile(`(?m)^local function (\w+)(?:.* end|(?:.*\n)+?end)\n`)

// needed returns a script with what it needs of common in front; functions are where in
// common they are. Redis makes each function anew whenever a script runs, which for all of
// them takes longer than the script.
func needed(common string, functions [][]int, body string) string {
	for _, at := range slices.Backward(functions) { // one uses only those before it
		name := common[at[2]:at[3]]
		if !calls(common[at[1]:], name) && !calls(body, name) {
			common = common[:at[0]] + common[at[1]:]
		}
	}
	return common + body
}

// calls tells whether a function is called in text. A regular expression for each function
// would cost more than all else at the start of a process.
func calls(text, function string) bool {
	for before, after, found := strings.Cut(text, function+"("); found; before, after, found = strings.Cut(after, function+"(") {
		if before == "" || !strings.ContainsRune(wordRunes, rune(before[len(before)-1])) {
			return true
		}
	}
	return false
}

const wordRunes = "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Ready reports whether Redis takes what is written. That it answers is not enough:
// a replica, a full one and one that cannot write to its disk answer too.
func (s *Store) Ready(ctx context.Context) error {
	return wrap("try to write", s.rdb.Set(ctx, readyKey, "", time.Minute).Err())
}

// reply is what the state scripts answer: a word, and what belongs to it.
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

// run executes a script that answers with a reply and maps the words that mean
// the same everywhere.
func (s *Store) run(ctx context.Context, op string, sc *redis.Script, keys []string, args ...any) (reply, error) {
	v, err := sc.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return nil, wrap(op, err)
	}
	return v, wordError(op, reply(v))
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

// wrap names the operation and marks what is worth a retry as job.ErrUnavailable:
// every network error, and the replies of a Redis that is starting, failing over
// or full. Other replies are our mistakes.
func wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	}
	// Before the deadline: a dial that timed out says that it is one, too.
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

// hideDeadline keeps the text of a network error and not what it claims to be:
// for callers, context.DeadlineExceeded is the end of their own context.
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
