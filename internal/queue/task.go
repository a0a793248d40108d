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
	// Timeout is asynq's own limit for the handler, with the caller's margins
	// already in it. A Handler gets zero here: its context has the deadline.
	Timeout time.Duration
}

// id is asynq's task id, and the payload. With the attempt in it a re-queue never
// collides with what an earlier attempt left behind.
func (t Task) id() string { return t.JobID + ":" + strconv.Itoa(t.Attempt) }

func (t Task) validate() error {
	switch {
	case strings.TrimSpace(t.JobID) == "":
		return errors.New("task has no job id")
	case t.Attempt < 0:
		return fmt.Errorf("task of job %s has attempt %d", t.JobID, t.Attempt)
	case strings.TrimSpace(t.Queue) == "":
		return fmt.Errorf("task of job %s has no queue", t.JobID)
	case t.Timeout < 0:
		return fmt.Errorf("task of job %s has timeout %s", t.JobID, t.Timeout)
	}
	return nil
}

func parsePayload(payload []byte) (Task, error) {
	s := string(payload)
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return Task{}, errors.New("payload is not jobId:attempt")
	}
	attempt, err := strconv.Atoi(s[i+1:])
	if err != nil || attempt < 0 {
		return Task{}, errors.New("payload is not jobId:attempt")
	}
	return Task{JobID: s[:i], Attempt: attempt}, nil
}
