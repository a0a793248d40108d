package service

import (
	"context"
	"io"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Records is what accepting and ending jobs needs of the store.
type Records interface {
	CreateAll(ctx context.Context, jobs []job.NewJob) []job.Created
	Enqueued(ctx context.Context, tasks ...job.Task) error
	// Cancel ends a waiting job and asks for the end of a running one.
	Cancel(ctx context.Context, id string) (job.State, error)
	// Remove deletes a job that has ended, and reports whether it has files to be deleted.
	Remove(ctx context.Context, id string) (hasBlobs bool, err error)
	// Abandon cancels a job only if it still waits.
	Abandon(ctx context.Context, id string, f job.Failure) (job.State, error)
}

// Batches is what batches need of the store.
type Batches interface {
	// OpenBatch records a batch of which nothing was received; or returns the id of the one that its
	// idempotency key has made.
	OpenBatch(ctx context.Context, n job.NewBatch) (known string, err error)
	// ResumeBatch lets a request send more of a batch, if its state allows it. job.ErrBatchBusy: another
	// one does.
	ResumeBatch(ctx context.Context, id, writer string) (job.BatchPlace, job.BatchState, error)
	// PackBatch puts jobs, nil where there is none, into the form in which they are stored.
	PackBatch(jobs []*job.NewJob) (data []byte, codes map[string][]byte, err error)
	AddToBatch(ctx context.Context, c job.BatchChunk) error
	// KeptChunks returns the first index of each chunk that a batch has kept, and KeptJobs the jobs of one that ended with one of
	// these marks. job.ErrChunkLost: it is gone.
	KeptChunks(ctx context.Context, id string) ([]int64, error)
	KeptJobs(ctx context.Context, id string, first int64, marks job.BatchMarks) ([]job.NewJob, error)
	CloseBatch(ctx context.Context, id, writer string, lines int64) error
	// LeaveBatch says that a request sends no more. With drop the batch is deleted.
	LeaveBatch(ctx context.Context, id, writer string, drop bool) error
	GiveUpBatch(ctx context.Context, id string, f job.Failure) error
	CancelBatch(ctx context.Context, id string) error
	RemoveBatch(ctx context.Context, id string) error
	Batch(ctx context.Context, id string) (job.Batch, error)
	Batches(ctx context.Context, f job.BatchFilter) (batches []job.Batch, next string, err error)
	// Refusals returns the first lines of a batch that describe no job.
	Refusals(ctx context.Context, id string, most int) ([]job.BatchRefusal, error)
	// BatchEnds returns the ends of a batch from a place on.
	BatchEnds(ctx context.Context, id string, order job.BatchOrder, from int64, most int) (job.BatchEnds, error)
	// BatchResults returns the results of jobs that have ended, but not the large ones, and the bytes of memory
	// that they take.
	BatchResults(ctx context.Context, id string, ends []job.BatchEnd) (results []job.BatchResult, bytes int64, err error)
}

// Archives is what writing the archives of batches needs of the store.
type Archives interface {
	// TakeArchive takes an archive under a lease; nil if none is due, and how long the next one is away, negative if there is
	// none. last is the owner of the one before.
	TakeArchive(ctx context.Context, token, last string, lease time.Duration) (c *job.ArchiveClaim, next time.Duration, err error)
	// LeaveArchive has it due again after a time: with a reason because it was not written, and without one as a longer
	// lease. job.ErrStale: another process has taken it.
	LeaveArchive(ctx context.Context, c job.ArchiveClaim, wait time.Duration, why string) error
	ArchiveWritten(ctx context.Context, c job.ArchiveClaim, n job.BatchArchive) error
}

// Lookup is what reading jobs needs of the store.
type Lookup interface {
	Get(ctx context.Context, id string) (job.Job, error)
	// Summary is Get without the result.
	Summary(ctx context.Context, id string) (job.Job, error)
	// Complete fills a job of a batch that has no record.
	Complete(ctx context.Context, j job.Job) (job.Job, error)
	// Request returns what a job asked for. job.ErrRequestGone: it was not kept.
	Request(ctx context.Context, j job.Job) (job.NewJob, error)
	// WaitsFor returns the reason why a queued job, or one that is to run after a batch, does not run yet; else it is empty.
	WaitsFor(ctx context.Context, id string) (job.Wait, error)
	// Watch has subscriber notified of the job's end, unless the job has ended.
	Watch(ctx context.Context, id, subscriber string) error
	List(ctx context.Context, f job.Filter) (jobs []job.Job, next string, err error)
}

// Queue is where tasks go.
type Queue interface {
	Enqueue(ctx context.Context, t job.Task) error
	// Remove takes a task off its queue if it still waits there.
	Remove(ctx context.Context, t job.Task) error
}

// Operations are the methods of the store for pauses and drains.
type Operations interface {
	PauseQueue(ctx context.Context, queue string) error
	UnpauseQueue(ctx context.Context, queue string) error
	PausedQueues(ctx context.Context) (map[string]time.Time, error)
	// DrainRunner fails with job.ErrNotFound if no such runner is alive.
	DrainRunner(ctx context.Context, runner string, on bool) error
}

// TaskLists are the methods of the queue for pauses and counts.
type TaskLists interface {
	// Pause makes runners take no task of a queue, and Resume ends that.
	Pause(ctx context.Context, queue string) error
	Resume(ctx context.Context, queue string) error
	// Paused returns those of the queues that are paused, and since when.
	Paused(ctx context.Context, queues []string) (map[string]time.Time, error)
	// Tasks counts the tasks of a queue by their state.
	Tasks(ctx context.Context, queue string) (job.TaskStats, error)
}

// Fleet is what showing queues and runners needs of the store.
type Fleet interface {
	// Queues counts the jobs that the viewer sees.
	Queues(ctx context.Context, names []string, v job.Viewer) ([]job.QueueStats, error)
	Runners(ctx context.Context) ([]job.Runner, error)
	// SessionsUsed returns the bytes of memory that the sessions of some runners used lately, by session.
	SessionsUsed(ctx context.Context, runners []string) (map[string]int64, error)
	// Samples returns what queues and runners did from a time on, the oldest first.
	Samples(ctx context.Context, from, now time.Time) ([]job.Sample, error)
	// Ready reports whether Redis takes what is written.
	Ready(ctx context.Context) error
}

// Sessions is what opening and ending sessions needs of the store. A caller sees its own
// sessions only, unless it may see all.
type Sessions interface {
	// OpenSession fails with a job.NamedError if a live session of the caller has the name, and with a job.VolumeInUseError if
	// another one uses its volume.
	OpenSession(ctx context.Context, n job.NewSession) (job.Session, error)
	// SessionNamed returns the id of a caller's live session. job.ErrNoSession: none has this name.
	SessionNamed(ctx context.Context, caller, name string) (string, error)
	Session(ctx context.Context, id string, v job.Viewer) (job.Session, error)
	ListSessions(ctx context.Context, f job.SessionFilter) (sessions []job.Session, next string, err error)
	// ChangeSession fails with a job.TooLateError if the session's maximum age forbids the end.
	ChangeSession(ctx context.Context, id string, v job.Viewer, c job.SessionChange) error
	CloseSession(ctx context.Context, id string, v job.Viewer, end job.SessionEnd) error
	// Volumes returns a page of a caller's volumes in the order of their names, Volume one of them. job.ErrNoVolume: there is none of that name.
	Volumes(ctx context.Context, caller, cursor string, limit int) (all []job.Volume, next string, err error)
	Volume(ctx context.Context, caller, name string) (job.Volume, error)
	// DropVolume fails with a job.VolumeInUseError if a session uses the volume.
	DropVolume(ctx context.Context, caller, name string) error
	// InterruptSession returns the job of a lane that is interrupted; empty if nothing is executed in it.
	InterruptSession(ctx context.Context, id, caller, lane string) (string, error)
}

// Commands is what the commands of sessions need of the store.
type Commands interface {
	// CommandsOf returns the ids of the jobs of a session's other lanes that are a job's own, and wait or run.
	CommandsOf(ctx context.Context, session string) ([]string, error)
	// TellCommand sends a message to a running command of a caller's session. It fails with job.ErrCommandEnded,
	// job.ErrInputEnded, job.ErrInputFull or job.ErrNoTerminal.
	TellCommand(ctx context.Context, session, caller, id string, m job.CommandMessage) error
	// Output returns what a command has written for its followers after a position; with attempt 0, all that is there.
	Output(ctx context.Context, id string, attempt int, after uint64, most int) ([]job.CommandOutput, error)
	// TookOutput says how far a follower has taken it, and that the follower is there. lost: the command went on without it.
	TookOutput(ctx context.Context, id, follower string, at uint64) (lost bool, err error)
	LeaveOutput(ctx context.Context, id, follower string) error
}

// Observers is what showing all that a session executes needs of the store.
type Observers interface {
	// ObserveSession returns what a caller's session was given to execute since the
	// observation before; with a zero one, what it executes or has waiting now. To be
	// called every minute at least.
	ObserveSession(ctx context.Context, id, caller string, before job.Observation) (job.Observation, error)
	// GiveInput answers what an execution of a caller's session asks for. job.ErrNoInput: it
	// does not ask for that, or another client has answered.
	GiveInput(ctx context.Context, session, caller string, a job.Answer) error
	// GiveReply answers a call of a caller's execution to a function of the caller; session is empty
	// or the session of the execution. job.ErrNoCall: there is no such call, or it has been answered.
	GiveReply(ctx context.Context, session, caller string, p job.Reply) error
}

// Events is what following jobs needs of the store.
type Events interface {
	// Follow has the events of a job written from now on, unless it has ended, and
	// returns its state.
	Follow(ctx context.Context, id string) (job.State, error)
	// Events returns the events after an id, oldest first and most at a time. The one
	// of the end has no data.
	Events(ctx context.Context, id string, after job.EventID, most int) ([]job.Event, error)
	// LastEvents returns those before an id, newest first; the zero id is behind all.
	LastEvents(ctx context.Context, id string, before job.EventID, most int) ([]job.Event, error)
}

// Notifier reports when to look for events.
type Notifier interface {
	// Listen calls wake, which does not block, when there may be new events of a job,
	// until forget is called.
	Listen(jobID string, wake func()) (forget func())
	// ListenSession does the same for executions that a session accepts, and its end.
	ListenSession(id string, wake func()) (forget func())
	// ListenBatch does the same for the end of a batch.
	ListenBatch(id string, wake func()) (forget func())
}

// Files is what the files of jobs need of the store.
type Files interface {
	// DropFile takes a file of so many bytes out of the list in a job's result.
	DropFile(ctx context.Context, id, key string, bytes int64) error
	// RoomForInputs says what the files of a job that is not recorded yet take, all of them
	// together, before they are stored. It fails with a job.FilesFullError if there is no room.
	RoomForInputs(ctx context.Context, id, caller string, bytes int64) error
	// ForgetBlobs says that all files of jobs are deleted.
	ForgetBlobs(ctx context.Context, ids ...string) error
}

// Keys is what managing API keys needs of the store.
type Keys interface {
	// Keys returns the keys, and the version of their list; no keys if that is still before.
	Keys(ctx context.Context, before string) (version string, keys []access.Key, err error)
	PutKey(ctx context.Context, k access.Key) error
	// DropKey fails with job.ErrNotFound if there is no such key.
	DropKey(ctx context.Context, id string) error
	LastUses(ctx context.Context) (map[string]time.Time, error)
}

// Packages is what preparing sets of packages, and showing them, needs of the store.
type Packages interface {
	SaveEnvironment(ctx context.Context, caller string, e job.Environment) error
	// Environments returns what a caller has had prepared, newest first; Environment one of them. job.ErrNoEnvironment: there is none.
	Environments(ctx context.Context, caller string) ([]job.Environment, error)
	Environment(ctx context.Context, caller, id string) (job.Environment, error)
	// NewestPackageBuild returns what runners have shared of a set last. job.ErrNotFound: nothing.
	NewestPackageBuild(ctx context.Context, set string) (job.PackageBuild, error)
	// SessionRuntime returns the runtime that a session was opened with, with the set of its packages.
	SessionRuntime(ctx context.Context, id string) (string, error)
	// Installing returns how far a runner is that installs a set; nil if none does.
	Installing(ctx context.Context, set string) (*job.Installation, error)
}

// Usage is what showing usage needs of the store.
type Usage interface {
	Usage(ctx context.Context, f job.UsageFilter) (usage []job.Usage, next string, err error)
	PresentUse(ctx context.Context, owner string) (job.PresentUse, error)
}

// Schedules is what schedules and their runs need of the store.
type Schedules interface {
	// AddSchedule records a schedule with its id, owner, spec and Due.
	AddSchedule(ctx context.Context, sc job.Schedule) (job.Schedule, error)
	// ChangeSchedule replaces the spec of a schedule as it was read. It fails with job.ErrStale if it has changed since.
	ChangeSchedule(ctx context.Context, sc job.Schedule, next job.NextDue) (job.Schedule, error)
	// Schedule fails with job.ErrNoSchedule if there is none.
	Schedule(ctx context.Context, id string) (job.Schedule, error)
	Schedules(ctx context.Context, v job.Viewer, cursor string, limit int) (all []job.Schedule, next string, err error)
	DropSchedule(ctx context.Context, sc job.Schedule) error
	// DueSchedules returns schedules whose run is due, the time, and how long the next one is away; negative if none is known.
	DueSchedules(ctx context.Context, most int) (due []job.Schedule, now time.Time, next time.Duration, err error)
	// Fire makes the job of a run and moves the time of the next one, in one step. It fails with job.ErrMoved if another
	// process has done so, and with job.ErrOverlap if the run is left out. With other errors the run is still due.
	Fire(ctx context.Context, run job.Run, n job.NewJob) (job.Created, error)
	// Pass leaves a run out. It fails with job.ErrMoved as Fire does.
	Pass(ctx context.Context, run job.Run, why string) error
}

// Blobs is where the contents of files are.
type Blobs interface {
	Put(ctx context.Context, key string, content io.Reader) (int64, error)
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	Delete(ctx context.Context, keys ...string) error
	// DeleteAll deletes all whose keys begin with prefix.
	DeleteAll(ctx context.Context, prefix string) error
}
