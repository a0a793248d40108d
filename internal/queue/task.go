package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// taskType is asynq's name for the only kind of task there is.
const taskType = "job"

// slack is what asynq's limit for a handler leaves beyond all that the handler is meant to
// take, so that asynq never ends an execution first.
const slack = time.Minute

// taskID is asynq's task id. With the attempt in it a re-queue never collides with
// what an earlier attempt left behind, nor with a task that was passed over and is just being
// taken away.
func taskID(t job.Task) string {
	id := t.JobID + ":" + strconv.Itoa(t.Attempt)
	if t.Passes > 0 {
		id += "." + strconv.Itoa(t.Passes)
	}
	return id
}

// payloadOf is what travels: jobId:attempt, or jobId:attempt@runtime, with .passes behind the
// attempt if there are any.
func payloadOf(t job.Task) []byte {
	if t.Runtime == "" {
		return []byte(taskID(t))
	}
	return []byte(taskID(t) + "@" + t.Runtime)
}

func validateTask(t job.Task) error {
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

func parsePayload(payload []byte) (job.Task, error) {
	s := string(payload)
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return job.Task{}, errPayload
	}
	number, runtime, given := strings.Cut(s[i+1:], "@")
	number, times, passed := strings.Cut(number, ".")
	attempt, err := strconv.Atoi(number)
	if err != nil || attempt < 0 || given != (runtime != "") {
		return job.Task{}, errPayload
	}
	t := job.Task{JobID: s[:i], Attempt: attempt, Runtime: runtime}
	if passed {
		if t.Passes, err = strconv.Atoi(times); err != nil || t.Passes < 1 {
			return job.Task{}, errPayload
		}
	}
	return t, nil
}
