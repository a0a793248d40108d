package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/luascript"
)

// keptRuns is the number of jobs of a schedule whose ids are kept. Those among them that have not ended count as
// overlapping.
const keptRuns = 20

// AddSchedule records a new schedule, with its id, owner, spec and Due. It returns it with its times.
func (s *Store) AddSchedule(ctx context.Context, sc job.Schedule) (job.Schedule, error) {
	sc.Revision = 0
	return s.saveSchedule(ctx, "add schedule", sc, "", job.NextDue{At: sc.Due})
}

// ChangeSchedule replaces the spec of a schedule as it was read. job.ErrStale: it has changed since, or has made a run;
// read it again.
func (s *Store) ChangeSchedule(ctx context.Context, sc job.Schedule, next job.NextDue) (job.Schedule, error) {
	return s.saveSchedule(ctx, "change schedule", sc, fmt.Sprint(sc.Revision), next)
}

func (s *Store) saveSchedule(ctx context.Context, op string, sc job.Schedule, revision string, next job.NextDue) (job.Schedule, error) {
	spec, err := json.Marshal(sc.ScheduleSpec)
	if err != nil {
		return sc, fmt.Errorf("%s: %w", op, err)
	}
	request, err := json.Marshal(sc.Job)
	if err != nil {
		return sc, fmt.Errorf("%s: %w", op, err)
	}
	due := dueText(next.At)
	if next.Keep {
		due = "keep"
	}
	if err := s.hasRoom(ctx); err != nil {
		return sc, fmt.Errorf("%s: %w", op, err)
	}
	most, shared := s.memory.mostOfCaller(s.cfg)
	r, err := s.run(ctx, op, s.scripts.save, nil, args{
		{"id", sc.ID},
		{"caller", cmp.Or(sc.Owner, anonymous)},
		{"revision", revision},
		{"spec", spec},
		{"request", request},
		{"next", due},
		{"most", s.cfg.MaxCallerSchedules},
		{"most_bytes", most},
		{"shared", shared},
	})
	if errors.Is(err, job.ErrNotFound) {
		return sc, fmt.Errorf("%s: %w", op, job.ErrNoSchedule)
	}
	if err != nil {
		return sc, err
	}
	switch r.word() {
	case "full":
		return sc, fmt.Errorf("%s: %w", op, &job.SchedulesFullError{Count: atoi(r.text(1)), Limit: atoi(r.text(2))})
	case "bytes":
		return sc, fmt.Errorf("%s: %w", op, bytesFull(r))
	}
	sc.Revision++
	sc.CreatedAt, sc.UpdatedAt = parseMillis(r.text(1)), parseMillis(r.text(2))
	return sc, nil
}

// dueText is a time in the arguments of scripts; empty for none.
func dueText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprint(t.UnixMilli())
}

// Schedule returns a schedule, with the ids of its latest jobs. job.ErrNoSchedule: there is none.
func (s *Store) Schedule(ctx context.Context, id string) (job.Schedule, error) {
	const op = "look for schedule"
	var jobs *redis.StringSliceCmd
	var record *redis.SliceCmd
	var due *redis.FloatCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		record, jobs, due = p.HMGet(ctx, scheduleKey(id), scheduleFields(true)...), p.LRange(ctx, scheduleJobsKey(id), 0, -1), p.ZScore(ctx, schedulesKey, id)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return job.Schedule{}, wrap(op, err)
	}
	sc, ok, err := decodeSchedule(id, record.Val())
	if err != nil {
		return sc, fmt.Errorf("%s: %w", op, err)
	}
	if !ok {
		return sc, fmt.Errorf("%s: %w", op, job.ErrNoSchedule)
	}
	sc.Jobs = jobs.Val()
	if at := due.Val(); at > 0 {
		sc.Due = time.UnixMilli(int64(at)).UTC()
	}
	return sc, nil
}

// Schedules returns a page of the schedules that a viewer sees, without their jobs, newest first, and the cursor of the next page, empty after
// the last.
func (s *Store) Schedules(ctx context.Context, v job.Viewer, cursor string, limit int) ([]job.Schedule, string, error) {
	const op = "list schedules"
	listing := allSchedulesKey
	if !v.All && job.TenantOf(v.Caller) != "" {
		listing = callerSchedulesKey(v.Caller)
	}
	below := "+"
	if cursor != "" {
		below = "(" + cursor
	}
	ids, err := s.rdb.ZRevRangeByLex(ctx, listing, &redis.ZRangeBy{Max: below, Min: "-", Count: int64(limit) + 1}).Result()
	if err != nil {
		return nil, "", wrap(op, err)
	}
	next := ""
	if len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	all, err := s.readSchedules(ctx, op, ids, scheduleFields(false))
	if err != nil {
		return nil, "", err
	}
	seen := make([]job.Schedule, 0, len(all))
	for _, sc := range all {
		if v.Knew(sc.Owner, false) {
			seen = append(seen, sc)
		}
	}
	return seen, next, nil
}

// readSchedules returns those of the schedules that exist.
func (s *Store) readSchedules(ctx context.Context, op string, ids, fields []string) ([]job.Schedule, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	records := make([]*redis.SliceCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			records[i] = p.HMGet(ctx, scheduleKey(id), fields...)
		}
		return nil
	})
	if err != nil {
		return nil, wrap(op, err)
	}
	var all []job.Schedule
	for i, record := range records {
		sc, ok, err := decodeSchedule(ids[i], record.Val())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		if ok { // it may have been deleted meanwhile
			all = append(all, sc)
		}
	}
	return all, nil
}

// scheduleFields are the fields of a schedule. The request of its jobs may have some 100 KiB.
func scheduleFields(request bool) []string {
	all := []string{"caller", "revision", "spec", "created_at", "updated_at", "last_due", "last_job", "last_at", "last_skipped", "last_error", "last_error_at"}
	if request {
		all = append(all, "request")
	}
	return all
}

// decodeSchedule turns the values of scheduleFields into a schedule; false when there is no record.
func decodeSchedule(id string, values []any) (job.Schedule, bool, error) {
	r := reply(values)
	if r.text(0) == "" {
		return job.Schedule{}, false, nil
	}
	sc := job.Schedule{
		ID: id, Owner: ownerOf(r.text(0)), Revision: atoi(r.text(1)), CreatedAt: parseMillis(r.text(3)), UpdatedAt: parseMillis(r.text(4)),
		LastDue: parseMillis(r.text(5)), LastJob: r.text(6), LastAt: parseMillis(r.text(7)), LastSkipped: parseMillis(r.text(8)),
		LastError: r.text(9), LastErrorAt: parseMillis(r.text(10)),
	}
	err := json.Unmarshal([]byte(r.text(2)), &sc.ScheduleSpec)
	if request := r.text(11); err == nil && request != "" {
		err = json.Unmarshal([]byte(request), &sc.Job)
	}
	if err != nil {
		return sc, false, fmt.Errorf("decode schedule %s: %w", id, err)
	}
	return sc, true, nil
}

// DropSchedule deletes a schedule; its jobs stay.
func (s *Store) DropSchedule(ctx context.Context, sc job.Schedule) error {
	_, err := s.run(ctx, "delete schedule", s.scripts.unsave, nil, args{{"id", sc.ID}})
	return err
}

// DueSchedules returns at most most schedules whose run is due, with Due, the time of Redis, and the time until the next
// one is due; negative if none is known.
func (s *Store) DueSchedules(ctx context.Context, most int) (due []job.Schedule, now time.Time, next time.Duration, err error) {
	const op = "look for due schedules"
	if some, err := s.exists(ctx, op, schedulesKey); err != nil || !some {
		return nil, time.Time{}, -1, err
	}
	v, err := s.call(ctx, s.scripts.runs, keys{{"schedules", schedulesKey}}, args{{"most", most}}).Slice()
	if err != nil {
		return nil, time.Time{}, 0, wrap(op, err)
	}
	r := reply(v)
	var ids []string
	times := map[string]time.Time{}
	for i := 2; i+1 < len(r); i += 2 {
		ids = append(ids, r.text(i))
		times[r.text(i)] = parseMillis(r.text(i + 1))
	}
	due, err = s.readSchedules(ctx, op, ids, scheduleFields(true))
	for i := range due {
		due[i].Due = times[due[i].ID]
	}
	return due, parseMillis(r.text(0)), time.Duration(atoi(r.text(1))) * time.Millisecond, err
}

// Fire makes the job of a run, and moves the time of the schedule's next one, in one step: so each run that is due makes one
// job. job.ErrMoved: another process has made it, or the schedule has changed. job.ErrOverlap: the run is left out. With
// any other error the run is still due.
func (s *Store) Fire(ctx context.Context, run job.Run, n job.NewJob) (job.Created, error) {
	const op = "make the job of a schedule"
	if err := s.hasRoom(ctx); err != nil {
		return job.Created{}, fmt.Errorf("%s: %w", op, err)
	}
	k, of, err := s.createArgs(n)
	if err != nil {
		return job.Created{}, err
	}
	fire := []luascript.Arg{
		{"schedule", run.Schedule},
		{"revision", fmt.Sprint(run.Revision)},
		{"due", dueText(run.Due)},
		{"next", dueText(run.Next)},
		{"overlap", string(run.Overlap)},
		{"kept", keptRuns},
		{"code", string(job.FailCancelled)},
		{"message", "the next run of its schedule replaced it"},
		s.tombstone(),
	}
	byKey, byNumber := s.scripts.fire.Bind(k, append(fire, of...))
	cmd := s.scripts.fire.Run(ctx, s.rdb, byKey, s.withTask(ctx, n.Job, byNumber)...)
	v, err := cmd.Slice()
	if err != nil {
		return job.Created{}, wrap(op, err)
	}
	switch r := reply(v); r.word() {
	case "moved":
		return job.Created{}, fmt.Errorf("%s: %w", op, job.ErrMoved)
	case "skipped":
		return job.Created{}, fmt.Errorf("%s: %w", op, &job.OverlapError{JobID: r.text(1)})
	}
	created := s.created(ctx, n, cmd)
	created.Job.ScheduleID = run.Schedule
	return created, created.Err
}

// Pass leaves a run out that is due, and records why. job.ErrMoved as of Fire.
func (s *Store) Pass(ctx context.Context, run job.Run, why string) error {
	const op = "leave out a run of a schedule"
	r, err := s.run(ctx, op, s.scripts.pass, nil, args{
		{"schedule", run.Schedule}, {"revision", fmt.Sprint(run.Revision)}, {"due", dueText(run.Due)}, {"next", dueText(run.Next)}, {"error", why},
	})
	if err == nil && r.word() == "moved" {
		return fmt.Errorf("%s: %w", op, job.ErrMoved)
	}
	return err
}
