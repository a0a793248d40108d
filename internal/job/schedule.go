package job

import (
	"errors"
	"fmt"
	"time"
)

// Overlap says what becomes of a run whose schedule has a job that has not ended.
type Overlap string

// The ways to treat overlapping runs.
const (
	OverlapSkip    Overlap = "skip"    // the run makes no job
	OverlapQueue   Overlap = "queue"   // it makes one more
	OverlapReplace Overlap = "replace" // it makes one, and the others are cancelled
)

// ScheduleSpec is what a caller says about a schedule. The store keeps its JSON, and that of Job beside it.
type ScheduleSpec struct {
	Name     string  `json:"name,omitempty"`
	Cron     string  `json:"cron"`
	TimeZone string  `json:"timeZone,omitempty"` // empty for UTC
	Overlap  Overlap `json:"overlap"`
	// StartingDeadline is how late a run may be that was missed; 0 is no bound.
	StartingDeadline time.Duration `json:"startingDeadline,omitempty"`
	Paused           bool          `json:"paused,omitempty"`
	// Job is the request of each job. Accept checks it for each run. Lists leave it out.
	Job Request `json:"-"`
}

// Schedule is the record of a recurring job.
type Schedule struct {
	ID    string
	Owner string
	ScheduleSpec
	// Revision counts the changes of the spec.
	Revision             int64
	CreatedAt, UpdatedAt time.Time
	// Due is when its next run is due, as far as that is recorded.
	Due time.Time
	// LastDue is the latest time whose run was made, or left out.
	LastDue time.Time
	// LastJob is the job that it made last, at LastAt. Both are zero before the first one.
	LastJob string
	LastAt  time.Time
	// LastError says why a run after that made no job.
	LastError   string
	LastErrorAt time.Time
	// LastSkipped is the latest time whose run was left out because a job had not ended.
	LastSkipped time.Time
	// Jobs are the ids of its latest jobs, newest first, if it was looked up by itself.
	Jobs []string
}

// NextDue says what becomes of the time of a schedule's next run when the schedule changes.
type NextDue struct {
	Keep bool      // it stays
	At   time.Time // the time; zero for no run
}

// Run is a run of a schedule that is due, or that was asked for.
type Run struct {
	Schedule string
	Revision int64
	// Due is the time that fences it, and Next the time of the run after it. Both are zero if it was asked for.
	Due, Next time.Time
	Overlap   Overlap
}

// Errors about schedules.
var (
	// ErrNoSchedule: the schedule was never known to this caller, or is deleted.
	ErrNoSchedule = errors.New("schedule not found")
	// ErrMoved: another process has made the run, or the schedule has changed.
	ErrMoved = errors.New("the run is not due any more")
	// ErrOverlap: a job of the schedule has not ended. An OverlapError names it.
	ErrOverlap = errors.New("a job of the schedule has not ended")
)

// OverlapError is an ErrOverlap.
type OverlapError struct{ JobID string }

func (e *OverlapError) Error() string {
	return fmt.Sprintf("job %s of the schedule has not ended", e.JobID)
}

// Is makes it an ErrOverlap.
func (e *OverlapError) Is(target error) bool { return target == ErrOverlap }

// SchedulesFullError means that a caller has its maximum of schedules.
type SchedulesFullError struct{ Count, Limit int64 }

func (e *SchedulesFullError) Error() string {
	return fmt.Sprintf("there are %d schedules of the caller, the limit is %d", e.Count, e.Limit)
}
