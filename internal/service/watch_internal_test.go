package service

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// endedEvents are the Events of a job that has ended.
type endedEvents struct {
	theirs
	all []job.Event
}

type theirs interface{ Events }

func (e endedEvents) Events(_ context.Context, _ string, after job.EventID, most int) ([]job.Event, error) {
	later := slices.DeleteFunc(slices.Clone(e.all), func(one job.Event) bool { return one.ID.Compare(after) <= 0 })
	return later[:min(most, len(later))], nil
}

// countedLookup is the record of a job, and counts who reads it.
type countedLookup struct {
	Lookup
	reads int
}

func (l *countedLookup) Get(context.Context, string) (job.Job, error) {
	l.reads++
	return job.Job{ID: "j", State: job.Completed, Attempt: 1, Result: &job.Result{SessionID: "record"}}, nil
}

type silentNotifier struct{ Notifier }

func (silentNotifier) Listen(string, func()) (forget func()) { return func() {} }

// TestReportedResult: the end has the result of the message of the end, without a look at the record; or that of the record, if the message
// has not come, does not have the result, or the events are not there.
func TestReportedResult(t *testing.T) {
	t.Parallel()
	begin := job.NewEvent(job.EventStatus, job.AttemptData{Type: job.EventStatus, State: job.Running, Attempt: 1})
	begin.ID, begin.Size = job.EventID{Attempt: 1, Seq: 10}, 10
	end, later := job.Event{ID: job.EndID(1), Type: job.EventStatus}, job.Event{ID: job.EndID(2), Type: job.EventStatus}
	for name, tt := range map[string]struct {
		events   []job.Event
		reported []*job.Result
		want     string
		reads    bool
	}{
		"with the message":      {[]job.Event{begin, end}, []*job.Result{{SessionID: "message"}}, "message", false},
		"before the message":    {[]job.Event{begin, end}, nil, "record", true},
		"without the result":    {[]job.Event{begin, end}, []*job.Result{nil}, "record", true},
		"without other events":  {[]job.Event{end}, []*job.Result{{SessionID: "message"}}, "record", true},
		"after another attempt": {[]job.Event{begin, later}, []*job.Result{{SessionID: "message"}}, "record", true},
	} {
		lookup := &countedLookup{}
		s := New(Config{Events: endedEvents{all: tt.events}, Lookup: lookup, Notifier: silentNotifier{}, Hub: NewHub("h"), Answers: job.NewMemory(1 << 20)})
		f := s.listen(Caller{}, "j", nil)
		f.reported, f.end = s.cfg.Hub.wait("j")
		for _, r := range tt.reported {
			s.cfg.Hub.Ended("j", r)
		}
		var last job.Event
		for {
			e, err := f.Next(t.Context(), lookEvery)
			if err != nil {
				break
			}
			last = e
		}
		f.Close()
		if !last.ID.Ends() || !strings.Contains(string(last.Data), tt.want) || (lookup.reads > 0) != tt.reads {
			t.Errorf("%s: %d reads of the record, %s", name, lookup.reads, last.Data)
		}
	}
}
