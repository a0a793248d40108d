package store_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// lines is a text that grows. Its properties have names that are not those of Go or of Redis.
type lines struct {
	strings.Builder
	now time.Time
}

// add adds a line with the named properties that have a value. Times are milliseconds from now.
func (l *lines) add(what string, properties ...any) {
	l.WriteString(what)
	for i := 0; i < len(properties); i += 2 {
		value := fmt.Sprint(properties[i+1])
		if at, ok := properties[i+1].(time.Time); ok {
			value = ""
			if !at.IsZero() {
				value = fmt.Sprintf("%+d", at.Sub(l.now).Milliseconds())
			}
		}
		if value != "" && value != "0" && value != "false" && value != "0s" && value != "[]" && value != "map[]" {
			fmt.Fprintf(l, " %s=%s", properties[i], value)
		}
	}
	l.WriteString("\n")
}

// picture is what the present source reads of the records of writeScenario.
func picture(t *testing.T, rdb *redis.Client, now time.Time) string {
	t.Helper()
	ctx := t.Context()
	s := store.New(rdb, store.Config{RunnerTTL: time.Hour})
	l := &lines{now: now}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	schema, err := s.Schema(ctx)
	check(err)
	l.add("schema", "version", schema.Version, "read-by", schema.ReadBy, "by", schema.By)
	jobs, _, err := s.List(ctx, job.Filter{Limit: 1000, Viewer: job.Viewer{All: true}})
	check(err)
	for _, listed := range jobs {
		j, err := s.Get(ctx, listed.ID)
		check(err)
		l.job(j)
		events, err := s.Events(ctx, j.ID, job.EventID{}, 100)
		check(err)
		for _, e := range events {
			l.add("  event", "id", e.ID.String(), "type", e.Type, "size", e.Size, "data", string(e.Data))
		}
		wait, err := s.WaitsFor(ctx, j.ID)
		check(err)
		if wait != "" {
			l.add("  waits", "for", wait)
		}
	}
	for _, id := range []string{"expired", "removed", "of-a-tenant-expired", "unknown"} {
		_, err := s.Get(ctx, id)
		l.add("job "+id, "gone", errors.Is(err, job.ErrGone), "not-found", errors.Is(err, job.ErrNotFound))
	}
	seen, _, err := s.List(ctx, job.Filter{Limit: 1000, Viewer: job.Viewer{Caller: "@team"}})
	check(err)
	l.add("jobs", "seen-by-the-tenant", len(seen))
	queues, err := s.Queues(ctx, nil, job.Viewer{All: true})
	check(err)
	for _, q := range queues {
		l.add("queue "+q.Name, "depth", q.Depth, "active", q.Active, "scheduled", q.Scheduled)
	}
	l.sessions(t, s)
	l.rest(t, s)
	l.schedules(t, s)
	l.batches(t, s)
	l.volumes(t, s)
	l.paused(t, s)
	l.usage(t, (&bundle{rdb: rdb}).usageStore())
	return l.String()
}

func (l *lines) job(j job.Job) {
	l.add("job "+j.ID, "state", j.State, "queue", j.Queue, "attempt", j.Attempt, "of", j.MaxAttempts, "owner", j.Owner,
		"created", j.CreatedAt, "scheduled", j.ScheduledAt, "queued", j.QueuedAt, "started", j.StartedAt, "finished", j.FinishedAt,
		"runner", j.Runner, "session", j.SessionID, "in-session", j.InSession, "timeout", j.Timeout, "ttl", j.ResultTTL,
		"metadata", string(j.Metadata), "runtime", j.Runtime, "cancel", j.CancelRequested, "schedule", j.ScheduleID,
		"after", j.After, "rerun-of", j.RerunOf)
	if f := j.Failure; f != nil {
		l.add("  failure", "code", f.Code, "message", f.Message, "reason", f.Reason)
	}
	if h := j.Webhook; h != nil {
		l.add("  webhook", "url", h.URL, "state", h.State, "attempts", h.Attempts, "status", h.LastStatus, "error", h.LastError)
	}
	r := j.Result
	if r == nil {
		return
	}
	text := fmt.Sprintf("%q", r.Stdout)
	if len(text) > 100 {
		text = fmt.Sprintf("%q*%d", r.Stdout[:6], strings.Count(r.Stdout, r.Stdout[:6]))
	}
	l.add("  result", "status", r.Status, "stdout", text, "stderr", r.Stderr, "interpreter", r.SessionID, "ms", r.DurationMs, "cpu", r.CPUMs,
		"memory", r.PeakMemoryBytes, "waited", r.QueuedMs)
	if r.ExitCode != nil {
		l.add("  exit", "code", *r.ExitCode)
	}
	if e := r.Error; e != nil {
		l.add("  error", "name", e.Name, "value", e.Value, "traceback", e.Traceback)
	}
	for _, v := range r.Results {
		for _, form := range slices.Sorted(maps.Keys(v.Data)) {
			l.add("  value", "main", v.Main, form, string(v.Data[form]))
		}
	}
	for _, c := range r.Cases {
		text, _ := json.Marshal(c) //nolint:errchkjson // of texts and numbers
		l.add("  case", "is", string(text))
	}
	for _, verdict := range slices.Sorted(maps.Keys(r.CaseCounts)) {
		l.add("  verdicts", verdict, r.CaseCounts[verdict])
	}
	for _, f := range r.Files {
		l.add("  file "+f.Path, "escaped", f.Escaped, "size", f.Size, "type", f.Type, "key", j.OutputKey(f))
	}
	if d := r.FilesDropped; d != nil {
		l.add("  files-dropped", "count", d.Count, "bytes", d.Bytes, "reason", d.Reason)
	}
}

func (l *lines) sessions(t *testing.T, s *store.Store) {
	t.Helper()
	live, _, err := s.ListSessions(t.Context(), job.SessionFilter{Viewer: job.Viewer{Caller: "me"}, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	ended, err := s.Session(t.Context(), "ended", job.Viewer{Caller: "me"})
	if err != nil {
		t.Fatal(err)
	}
	for _, se := range append(live, ended) {
		l.add("session "+se.ID, "state", se.State, "runner", se.Runner, "runtime", se.Runtime, "created", se.CreatedAt, "used", se.LastUsed,
			"expires", se.ExpiresAt, "idle", se.IdleTimeout, "age", se.MaxAge, "metadata", string(se.Metadata), "waiting", se.Waiting,
			"reason", se.Reason, "message", se.Message, "ended", se.EndedAt, "forked-from", se.ForkedFrom)
	}
	counts, err := s.CountSessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.add("sessions", "idle", counts[job.SessionIdle], "busy", counts[job.SessionBusy])
}

func (l *lines) rest(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	runners, err := s.Runners(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runners {
		l.add("runner "+r.ID, "host", r.Host, "pid", r.PID, "version", r.Version, "started", r.StartedAt.Format(time.RFC3339),
			"slots", r.Concurrency, "active", r.Active, "queues", r.Queues, "sandbox", r.Sandbox, "most-sessions", r.MaxSessions,
			"runtime", r.Runtimes[0].Name, "takes-python", r.Takes("python"))
		claims, err := s.Held(ctx, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(claims, func(a, b job.Claim) int { return cmp.Compare(a.JobID, b.JobID) })
		for _, c := range claims {
			l.add("  claim "+c.JobID, "attempt", c.Attempt, "session", c.SessionID)
		}
	}
	_, keys, _, err := s.Keys(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	uses, err := s.LastUses(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		scopes, err := json.Marshal(k.Scopes)
		l.add("key "+k.ID, "tenant", k.Tenant, "name", k.Name, "scopes", string(scopes), "expires", k.Expires.Format(time.RFC3339),
			"created", k.Created.Format(time.RFC3339), "sha256", k.SHA256, "used", uses[k.ID].UTC().Format(time.RFC3339))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// givenFields are those fields of a request that have a value, as JSON: so a field that is new changes no file.
func givenFields(t *testing.T, r job.Request) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	must(t, err)
	var fields map[string]json.RawMessage
	must(t, json.Unmarshal(text, &fields))
	maps.DeleteFunc(fields, func(_ string, v json.RawMessage) bool {
		return slices.Contains([]string{"null", `""`, "0", "false", "[]", "{}"}, string(v))
	})
	text, err = json.Marshal(fields)
	must(t, err)
	return text
}

func (l *lines) schedules(t *testing.T, s *store.Store) {
	t.Helper()
	all, _, err := s.Schedules(t.Context(), job.Viewer{All: true}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, listed := range all {
		sc, err := s.Schedule(t.Context(), listed.ID)
		if err != nil {
			t.Fatal(err)
		}
		request := givenFields(t, sc.Job)
		l.add("schedule "+sc.ID, "owner", sc.Owner, "name", sc.Name, "cron", sc.Cron, "zone", sc.TimeZone, "overlap", sc.Overlap,
			"deadline", sc.StartingDeadline, "paused", sc.Paused, "revision", sc.Revision, "due", sc.Due.Format(time.RFC3339),
			"created", sc.CreatedAt, "updated", sc.UpdatedAt, "last-due", sc.LastDue.Format(time.RFC3339), "last-job", sc.LastJob, "last-at", sc.LastAt,
			"skipped", sc.LastSkipped.Format(time.RFC3339), "error", sc.LastError, "error-at", sc.LastErrorAt, "jobs", sc.Jobs, "job", string(request))
	}
}
