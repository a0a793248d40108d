// Package store keeps Kaa's state in Redis: job records, idempotency keys, the
// outbox of tasks to enqueue, the runner registry and the cancel flags. Every
// change of a job's state is one compare-and-set Lua script (lua/), tested
// against the pure model in internal/job/jobtest; asynq only dispatches the ids of these jobs.
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
//	{kaa}:calls:<id>              HASH    open calls of a running execution to functions of its caller, by id: empty, or the answer
//	                                      until its runner has it
//	{kaa}:gone:<id>               STRING  tombstone, for 410 instead of 404; of an execution of a session: its owner
//	{kaa}:removed:<id>            STRING  nonce of the deletion of the record
//	{kaa}:jobs:<queue>:<state>    ZSET    listing, by id, which is by age; executions of sessions also have one per caller,
//	                                      with the queue sessions:of:<caller>
//	{kaa}:queues                  SET     queues that have had a job
//	{kaa}:paused                  HASH    queues of which no job may begin → since when
//	{kaa}:confirm:<hash>          STRING  an action on many jobs that has been counted, until it is confirmed
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
//	{kaa}:usage:<day>:<caller>    HASH    what a caller's executions and sessions took on a day, by its number since 1970; expires
//	{kaa}:usage:<day>             ZSET    the callers that have one
//	{kaa}:usage:log               LIST    ended jobs and sessions that are not in these figures yet
//	{kaa}:batch:<id>              HASH    the record of a batch, with the counts of its jobs; expires some time after its end
//	{kaa}:batch:<id>:chunk:<n>    STRING  its jobs from index n on that have no record yet, compressed; {kaa}:batch:<id>:chunks lists them
//	{kaa}:batch:<id>:code         HASH    digest → long code of its jobs, compressed
//	{kaa}:batch:<id>:ends         STRING  a byte for each index: how the job ended
//	{kaa}:batch:<id>:order        STRING  three bytes for each job that has ended: its index
//	{kaa}:batch:<id>:refused      LIST    its first lines that describe no job
//	{kaa}:batch:<id>:after        SET     jobs that are due once it has ended; {kaa}:batches:awaited lists the batches that have one
//	{kaa}:batches:hooks           ZSET    messages of batches that are to be delivered, "batch percent", by when
//	{kaa}:batch:<id>:writer       STRING  the request that sends it; expires if that does nothing
//	{kaa}:batches:open            SET     batches that have not ended; {kaa}:batches:open:of:<caller> those of a caller
//	{kaa}:batches:feeder          STRING  the process that makes records of chunks; expires if it does not say so again
//	{kaa}:jobs:batches:all        ZSET    listing of batches, by id; one for each tenant, as those of jobs
//	{kaa}:rate:<caller>           STRING  when the caller's rate limit is whole again, in µs; key:<digest> is that of a key's own
//	{kaa}:idem:<hash>             STRING  idempotency key → fingerprint and job
//	{kaa}:job:<id>:messages       STREAM  what callers have sent to a command of a session, and it has not taken
//	{kaa}:job:<id>:output         STREAM  what a command has written and an attached follower has not taken; expires
//	{kaa}:job:<id>:followers      HASH    attached follower → how far it has taken that, and when it is taken for gone; expires
//	{kaa}:runners                 SET     runners; {kaa}:runner:<id> expires with the heartbeat
//	{kaa}:drained                 SET     runners that an operator lets take nothing new
//	{kaa}:runner:<id>:jobs        SET     the runner's claims
//	{kaa}:session:<id>            HASH    the record of a session; expires some time after its end
//	{kaa}:session:<id>:jobs       ZSET    its executions that wait, by the order of their acceptance
//	{kaa}:sessions                ZSET    live sessions, by when they end unless they are used
//	{kaa}:sessions:busy           SET     those with executions
//	{kaa}:sessions:paused         SET     those that are paused; {kaa}:sessions:paused:of:<caller> has those of a caller
//	{kaa}:sessions:of:<caller>    ZSET    a caller's live sessions, by id
//	{kaa}:sessions:names:<caller> HASH    names of a caller's live sessions → session
//	{kaa}:runner:<id>:sessions    SET     live sessions on a runner
//	{kaa}:runner:<id>:ready       SET     those with an execution that the runner is to claim
//	{kaa}:runner:<id>:memory      STRING  bytes of memory that each of them uses, as JSON; expires soon
//	{kaa}:elected:<task>          STRING  a process does it; expires when it is due again
//	{kaa}:sample:<number>         HASH    what queues and runners did in half a minute, by its number since 1970; expires after an hour
//	{kaa}:ready                   STRING  written to check whether Redis takes writes
//	{kaa}:schedule:<id>           HASH    the record of a schedule: what its caller says, as JSON, and its last run
//	{kaa}:schedule:<id>:jobs      LIST    its latest jobs, newest first
//	{kaa}:schedules               ZSET    schedules that are not paused, by when their next run is due
//	{kaa}:schedules:of:<caller>   ZSET    a caller's schedules, by id; {kaa}:schedules:all has those of all
//	{kaa}:volume:<digest>         HASH    the record of a volume; the digest is that of its caller and its name
//	{kaa}:volumes                 ZSET    the keys of volumes, by when they are deleted unless they are used
//	{kaa}:volumes:of:<caller>     ZSET    the names of a caller's volumes
//	{kaa}:packages:<digest>       HASH    a set of packages that runners share, by kind of runner, as JSON; expires with its blobs
//	{kaa}:packages                ZSET    their keys, by the time of the last write
//	{kaa}:environments:of:<caller> HASH   id → a set of packages that the caller has had prepared, as JSON; expires
//	{kaa}:installing:<digest>     STRING  a runner installs that set; expires if it does not say so again
//	{kaa}:waiters                 SET     processes whose callers wait; {kaa}:waiter:<id> expires with the lease
//	{kaa}:waiter:<id>:jobs        SET     what they wait for
package store

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/luascript"
)

// Store is a handle on the records. It does not own the client.
type Store struct {
	rdb     redis.UniversalClient
	cfg     Config
	scripts scripts
	memory  memory
	packer  packer
	large   chan struct{} // has a token for each large result that is being written
	leased  leased
}

// New returns a store on rdb.
func New(rdb redis.UniversalClient, cfg Config) *Store {
	cfg = cfg.withDefaults()
	all, before := luaScripts(), constants(cfg)
	script := func(name string) script {
		s, known := all[name]
		if !known {
			panic("store: no script " + name)
		}
		s.Script = redis.NewScript(before + s.text)
		return s.script
	}
	return &Store{rdb: rdb, cfg: cfg, large: make(chan struct{}, largeAtOnce), scripts: scripts{
		create: script("create"), due: script("due"), enqueued: script("enqueued"),
		claim: script("claim"), finish: script("finish"), reject: script("reject"),
		cancel: script("cancel"), watch: script("watch"), rescue: script("rescue"), sweep: script("sweep"),
		list: script("list"), mend: script("mend"), waiting: script("waiting"), requeue: script("requeue"),
		events: script("events"), follow: script("follow"),
		unattended: script("unattended"), rate: script("rate"), hooks: script("hooks"), hooked: script("hooked"),
		open: script("open"), fork: script("fork"), next: script("next"), close: script("close"), interrupt: script("interrupt"),
		sessions: script("sessions"), leave: script("leave"), observe: script("observe"), input: script("input"), reply: script("reply"),
		change: script("change"), halt: script("halt"),
		save: script("save"), unsave: script("unsave"), fire: script("fire"), pass: script("pass"), runs: script("runs"),
		unstarted: script("unstarted"), unclaim: script("unclaim"), move: script("move"), joined: script("joined"), waits: script("waits"), schema: script("schema"),
		expired: script("expired"), drop: script("drop"), room: script("room"), forget: script("forget"), remove: script("remove"), tally: script("tally"),
		tellCommand: script("tellCommand"), tookCommand: script("tookCommand"), attach: script("attach"), output: script("output"), taken: script("taken"), started: script("started"),
		pause: script("pause"), unpause: script("unpause"), drain: script("drain"), sample: script("sample"),
		batchOpen: script("batchOpen"), batchResume: script("batchResume"), batchAdd: script("batchAdd"), batchClose: script("batchClose"),
		batchLeave: script("batchLeave"), batchRemove: script("batchRemove"), batchCancel: script("batchCancel"),
		batchFed: script("batchFed"), batchUnfed: script("batchUnfed"), batchMend: script("batchMend"), batchSample: script("batchSample"), batchHooked: script("batchHooked"),
		archives: script("archives"), archived: script("archived"), takes: script("takes"),
		takeVolume: script("takeVolume"), roomVolume: script("roomVolume"), saveVolume: script("saveVolume"),
		install: script("install"), leaveVolume: script("leaveVolume"), dropVolume: script("dropVolume"), volumes: script("volumes"),
	}}
}

// Ready reports whether Redis takes writes. An answer is not enough: a replica, a full Redis and
// one that cannot write to its disk answer too.
func (s *Store) Ready(ctx context.Context) error {
	return wrap("try to write", s.rdb.Set(ctx, readyKey, "", time.Minute).Err())
}

// call executes a script on Redis.
func (s *Store) call(ctx context.Context, sc script, k keys, a args, each ...args) *redis.Cmd {
	return sc.Call(ctx, s.rdb, k, a, each...)
}

// run executes a script that answers with a reply, and maps the words that have the same meaning
// everywhere.
func (s *Store) run(ctx context.Context, op string, sc script, k keys, a args, each ...args) (reply, error) {
	v, err := s.call(ctx, sc, k, a, each...).Slice()
	if err != nil {
		return nil, wrap(op, err)
	}
	return v, wordError(op, reply(v))
}

// tombstone is the argument of that name.
func (s *Store) tombstone() luascript.Arg {
	return luascript.Arg{"tombstone", s.cfg.TombstoneTTL.Milliseconds()}
}

// exists checks for a key before a script that has nothing to do on an idle system. That is one
// command, and a script costs one more for each command that it runs.
func (s *Store) exists(ctx context.Context, op string, keys ...string) (bool, error) {
	n, err := s.rdb.Exists(ctx, keys...).Result()
	return n > 0, wrap(op, err)
}
