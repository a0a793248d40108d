package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
)

// anonymous is the caller of jobs that come without a key.
const anonymous = "anonymous"

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
	lanedKey    = sessionsKey + ":laned"
	blobsKey    = prefix + "blobs"
	schemaKey   = prefix + "schema"
	pausedKey   = prefix + "paused"
	drainedKey  = prefix + "drained"

	schedulesKey    = prefix + "schedules"
	allSchedulesKey = schedulesKey + ":all"
)

func jobKey(id string) string       { return prefix + "job:" + id }
func eventsKey(id string) string    { return prefix + "events:" + id }
func goneKey(id string) string      { return prefix + "gone:" + id }
func runnerKey(id string) string    { return prefix + "runner:" + id }
func runnerUseKey(id string) string { return runnerKey(id) + ":memory" }
func waiterKey(id string) string    { return prefix + waiterMember(id) }

// waiterMember is the name of a waiter in a set, which distinguishes it from a runner where both
// are read.
func waiterMember(id string) string { return "waiter:" + id }

func indexKey(queue string, state job.State) string {
	return prefix + "jobs:" + queue + ":" + string(state)
}
func idempotencyKey(scope, key string) string  { return prefix + "idem:" + digest(scope, key) }
func finishedChannel(subscriber string) string { return prefix + "finished:" + subscriber }

func sessionKey(id string) string         { return prefix + "session:" + id }
func callerNamesKey(caller string) string { return sessionsKey + ":names:" + cmp.Or(caller, anonymous) }

func callerSessionsKey(caller string) string { return sessionsKey + ":of:" + cmp.Or(caller, anonymous) }

func scheduleKey(id string) string     { return prefix + "schedule:" + id }
func scheduleJobsKey(id string) string { return scheduleKey(id) + ":jobs" }
func callerSchedulesKey(caller string) string {
	return schedulesKey + ":of:" + cmp.Or(caller, anonymous)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}
