package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// taskType is asynq's name for the only kind of task there is.
const taskType = "job"

// Task is one attempt of a job on its way to a runner.
type Task struct {
	JobID   string
	Attempt int
	Queue   string
	// Runtime is what the runner needs to know before it claims the job: it takes
	// a worker first. Empty for its default.
	Runtime string
	// Timeout is asynq's own limit for the handler, with the caller's margins
	// already in it. A Handler gets zero here: its context has the deadline.
	Timeout time.Duration
	// Passes is how many tasks of this attempt were handled without its having begun.
	Passes int
}

// id is asynq's task id. With the attempt in it a re-queue never collides with
// what an earlier attempt left behind, nor with a task that was passed over and is just being
// taken away.
func (t Task) id() string {
	id := t.JobID + ":" + strconv.Itoa(t.Attempt)
	if t.Passes > 0 {
		id += "." + strconv.Itoa(t.Passes)
	}
	return id
}

// payload is what travels: jobId:attempt, or jobId:attempt@runtime, with .passes behind the
// attempt if there are any.
func (t Task) payload() []byte {
	if t.Runtime == "" {
		return []byte(t.id())
	}
	return []byte(t.id() + "@" + t.Runtime)
}

func (t Task) validate() error {
	switch {
	case strings.TrimSpace(t.JobID) == "":
		return errors.New("task has no job id")
	case t.Attempt < 0 || t.Passes < 0:
		return fmt.Errorf("task of job %s has attempt %d and was passed over %d times", t.JobID, t.Attempt, t.Passes)
	case strings.TrimSpace(t.Queue) == "":
		return fmt.Errorf("task of job %s has no queue", t.JobID)
	case strings.Contains(t.Runtime, ":"): // the last one in a payload ends the job id
		return fmt.Errorf("task of job %s has runtime %q", t.JobID, t.Runtime)
	case t.Timeout < 0:
		return fmt.Errorf("task of job %s has timeout %s", t.JobID, t.Timeout)
	}
	return nil
}

var errPayload = errors.New("payload is not jobId:attempt[.passes][@runtime]")

func parsePayload(payload []byte) (Task, error) {
	s := string(payload)
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return Task{}, errPayload
	}
	number, runtime, given := strings.Cut(s[i+1:], "@")
	number, times, passed := strings.Cut(number, ".")
	attempt, err := strconv.Atoi(number)
	if err != nil || attempt < 0 || given != (runtime != "") {
		return Task{}, errPayload
	}
	t := Task{JobID: s[:i], Attempt: attempt, Runtime: runtime}
	if passed {
		if t.Passes, err = strconv.Atoi(times); err != nil || t.Passes < 1 {
			return Task{}, errPayload
		}
	}
	return t, nil
}
