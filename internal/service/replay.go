package service

import (
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// endData is the data of the last event of a job: how it ended, without its output.
type endData struct {
	Type  job.EventType `json:"type"`
	State job.State     `json:"state"`
	JobID string        `json:"jobId"`
	*job.Result
	// These hide those of the result, which events have had.
	Stdout  *string          `json:"stdout,omitempty"`
	Stderr  *string          `json:"stderr,omitempty"`
	Results []job.Value      `json:"results,omitempty"`
	Outputs []job.Output     `json:"outputs,omitempty"`
	Cases   []job.CaseResult `json:"cases,omitempty"`
	Failure *job.Failure     `json:"failure,omitempty"`
}

func endEvent(j job.Job) job.Event {
	e := job.NewEvent(job.EventStatus, endData{
		Type: job.EventStatus, State: j.State, JobID: j.ID, Result: j.Result, Failure: j.Failure,
	})
	e.ID = job.EndID(j.Attempt)
	return e
}

// waitingEvent reports that a job has not begun. It has no id, because no reader resumes after it.
func waitingEvent(j job.Job) job.Event {
	return job.NewEvent(job.EventStatus, endData{Type: job.EventStatus, State: j.State, JobID: j.ID})
}

func gapEvent(before job.EventID, bytes uint64) job.Event {
	e := job.NewEvent(job.EventGap, job.GapData{Type: job.EventGap, Bytes: bytes})
	e.ID = before
	return e
}

// textBytes is the most output in one event that is made of a record.
const textBytes = 32 << 10

// eventsOf makes the events of a job that no caller followed from its record, all but the
// last. The same record always gives the same.
func eventsOf(j job.Job) []job.Event {
	if j.Attempt == 0 {
		return nil // it never ran
	}
	var events []job.Event
	seq := uint64(0)
	add := func(e job.Event) {
		seq += e.Size
		e.ID = job.EventID{Attempt: j.Attempt, Seq: seq}
		events = append(events, e)
	}
	add(job.NewEvent(job.EventStatus, job.AttemptData{Type: job.EventStatus, State: job.Running, Attempt: j.Attempt}))
	if j.Result == nil {
		return events
	}
	for i, c := range j.Result.Cases {
		if c.Verdict != job.VerdictSkipped {
			add(job.CaseEvent(i, c))
		}
	}
	noted := map[string]bool{}
	for _, o := range j.Result.Outputs {
		switch {
		case o.Value != nil:
			add(o.Event())
		case o.Error != nil:
			add(job.NewEvent(job.EventError, job.ErrorData{Type: job.EventError, Error: *o.Error}))
		case o.Dropped > 0 && !noted[o.Type]:
			noted[o.Type] = true
			addText(add, o.Type, job.DroppedNote(j.Result.Truncated.Of(o.Type)))
		default:
			addText(add, o.Type, o.Text)
		}
	}
	return events
}

func addText(add func(job.Event), stream, text string) {
	for text != "" {
		n := min(len(text), textBytes)
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		e := job.NewEvent(job.EventStream, job.StreamData{Type: job.EventStream, Stream: stream, Text: text[:n]})
		e.Size = uint64(n) //nolint:gosec // a length
		add(e)
		text = text[n:]
	}
}
