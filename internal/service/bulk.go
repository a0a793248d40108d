package service

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// ErrConfirm means that the confirmation has expired, or is not of this filter, action and caller.
var ErrConfirm = errors.New("no such confirmation")

const (
	// bulkPage is the number of jobs that are read at a time, and bulkTime bounds one call.
	bulkPage = 500
	bulkTime = 10 * time.Second
	// confirmTTL is how long a count can be confirmed.
	confirmTTL = 5 * time.Minute
)

// Confirmations are the methods of the store for actions on many jobs that have to be confirmed.
type Confirmations interface {
	// Time is Redis's, as in the records.
	Time(ctx context.Context) (time.Time, error)
	PutConfirmation(ctx context.Context, token, value string, ttl time.Duration) error
	// Confirmation returns an empty value if there is none.
	Confirmation(ctx context.Context, token string) (value string, err error)
	DropConfirmation(ctx context.Context, token string) error
}

// JobFilter selects jobs of the caller, or of all callers for an operator. Zero values mean all; a
// filter without any is refused.
type JobFilter struct {
	Queue         string
	States        []job.State
	Runtime       string
	CreatedBefore time.Time
	// Metadata has members that the metadata of a job must have, too.
	Metadata json.RawMessage
}

// Bulk is the outcome of one call for many jobs.
type Bulk struct {
	// Matched is the number of jobs that match; at least so many, if AtLeast.
	Matched int
	AtLeast bool
	// Done is the number of jobs that this call has dealt with, after a confirmation. Complete: no
	// further call is needed.
	Done     int
	Complete bool
	// Confirm is for the next call; empty if there is none.
	Confirm string
}

// confirmation is what the store keeps between a count and its confirmation.
type confirmation struct {
	Bound  string // digest of action, caller and filter
	Before int64  // when the count began, in milliseconds: later jobs are left alone
	State  int    // where the next call goes on: the place in the states, and the last job
	Cursor string
}

// bulkAction is done to each job. It reports whether that has changed something.
type bulkAction struct {
	name   string
	states []job.State
	do     func(ctx context.Context, j job.Job) (bool, error)
}

// CancelAll counts the jobs that a filter selects, or, with the confirmation of the count, cancels them.
func (s *Service) CancelAll(ctx context.Context, c Caller, f JobFilter, confirm string) (Bulk, error) {
	return s.bulk(ctx, c, f, confirm, bulkAction{"cancel", []job.State{job.Scheduled, job.Queued, job.Running}, s.cancelOne})
}

// PurgeAll counts the jobs that a filter selects, or, with the confirmation of the count, deletes
// their records, results and files.
func (s *Service) PurgeAll(ctx context.Context, c Caller, f JobFilter, confirm string) (Bulk, error) {
	return s.bulk(ctx, c, f, confirm, bulkAction{"purge", []job.State{job.Completed, job.Cancelled, job.Failed}, s.purgeOne})
}

func (s *Service) cancelOne(ctx context.Context, j job.Job) (bool, error) {
	if j.CancelRequested {
		return false, nil
	}
	state, err := s.cfg.Records.Cancel(ctx, j.ID)
	if err == nil && state == job.Cancelled {
		s.removeTask(ctx, j)
	}
	return err == nil, unlessSettled(err)
}

func (s *Service) purgeOne(ctx context.Context, j job.Job) (bool, error) {
	hasBlobs, err := s.cfg.Records.Remove(ctx, j.ID)
	if err == nil && hasBlobs {
		s.deleteFiles(ctx, j.ID)
	}
	return err == nil, unlessSettled(err)
}

// unlessSettled leaves out the errors of a job that has moved on since it was listed.
func unlessSettled(err error) error {
	for _, settled := range []error{job.ErrFinished, job.ErrUnfinished, job.ErrNotFound, job.ErrGone} {
		if errors.Is(err, settled) {
			return nil
		}
	}
	return err
}

func (s *Service) bulk(ctx context.Context, c Caller, f JobFilter, confirm string, a bulkAction) (Bulk, error) {
	if err := c.may(access.Execute); err != nil {
		return Bulk{}, err
	}
	want, err := s.checkFilter(ctx, c, &f, a)
	if err != nil {
		return Bulk{}, err
	}
	w := &walk{s: s, filter: f, want: want, viewer: c.viewer(), until: time.Now().Add(bulkTime)}
	bound := boundTo(c, f, want, a.name)
	if confirm == "" {
		return s.countAll(ctx, w, bound)
	}
	text, err := s.cfg.Confirmations.Confirmation(ctx, confirm)
	if err != nil {
		return Bulk{}, err
	}
	if json.Unmarshal([]byte(text), &w.at) != nil || w.at.Bound != bound {
		return Bulk{}, ErrConfirm
	}
	b := Bulk{}
	b.Complete, err = w.each(ctx, func(j job.Job) error {
		did, err := a.do(ctx, j)
		if did {
			b.Done++
		}
		return err
	})
	switch {
	case err != nil:
		return Bulk{}, err
	case b.Complete:
		return b, s.cfg.Confirmations.DropConfirmation(ctx, confirm)
	}
	b.Confirm = confirm
	return b, s.keepConfirmation(ctx, confirm, w.at)
}

func (s *Service) countAll(ctx context.Context, w *walk, bound string) (Bulk, error) {
	now, err := s.cfg.Confirmations.Time(ctx)
	if err != nil {
		return Bulk{}, err
	}
	begin := confirmation{Bound: bound, Before: now.UnixMilli()}
	w.at = begin
	b := Bulk{Confirm: rand.Text()}
	complete, err := w.each(ctx, func(job.Job) error { b.Matched++; return nil })
	if err != nil {
		return Bulk{}, err
	}
	b.AtLeast = !complete
	// Records have milliseconds: what comes after the answer is in a later one.
	time.Sleep(time.Millisecond)
	return b, s.keepConfirmation(ctx, b.Confirm, begin)
}

func (s *Service) keepConfirmation(ctx context.Context, token string, value confirmation) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode confirmation: %w", err)
	}
	return s.cfg.Confirmations.PutConfirmation(ctx, token, string(text), confirmTTL)
}

// checkFilter returns the members of the metadata that are asked for, and sets the default states.
func (s *Service) checkFilter(ctx context.Context, c Caller, f *JobFilter, a bulkAction) (want map[string]any, err error) {
	var invalid job.ValidationError
	bad := func(field, message string) {
		invalid.Fields = append(invalid.Fields, job.FieldError{Field: field, Message: message})
	}
	if f.Queue == "" && len(f.States) == 0 && f.Runtime == "" && f.CreatedBefore.IsZero() && len(f.Metadata) == 0 {
		bad("state", "name at least one of queue, state, runtime, createdBefore and metadata; all states mean all jobs")
	}
	if len(f.Metadata) > 0 && json.Unmarshal(f.Metadata, &want) != nil {
		bad("metadata", "must be an object")
	}
	names := make([]string, len(a.states))
	for i, state := range a.states {
		names[i] = string(state)
	}
	for _, state := range f.States {
		if !slices.Contains(a.states, state) {
			bad("state", "must be of "+strings.Join(names, ", "))
		}
	}
	if f.Queue != "" {
		switch err := s.knownQueue(ctx, c, f.Queue); {
		case errors.Is(err, ErrNoQueue):
			bad("queue", "no queue has this name; GET /v1/queues lists them")
		case err != nil:
			return nil, err
		}
	}
	if len(invalid.Fields) > 0 {
		return nil, &invalid
	}
	states := f.States
	f.States = slices.DeleteFunc(slices.Clone(a.states), func(state job.State) bool { return len(states) > 0 && !slices.Contains(states, state) })
	return want, nil
}

// boundTo is the digest that binds a confirmation.
func boundTo(c Caller, f JobFilter, want map[string]any, action string) string {
	text, _ := json.Marshal(struct { // none of these values fails
		Action, Caller string
		All            bool
		Queue, Runtime string
		States         []job.State
		Before         int64
		Metadata       map[string]any
	}{action, c.ID(), c.All(), f.Queue, f.Runtime, f.States, f.CreatedBefore.UnixNano(), want})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// walk reads the jobs of a filter, a page at a time and the newest first, so that jobs that are held for
// a share are met before those whose end would bring them onto a queue.
type walk struct {
	s      *Service
	filter JobFilter
	want   map[string]any
	viewer job.Viewer
	until  time.Time
	at     confirmation
}

// each calls f for each job that matches, and reports whether it has met all. If not, at has the place
// where to go on.
func (w *walk) each(ctx context.Context, f func(j job.Job) error) (complete bool, err error) {
	for ; w.at.State < len(w.filter.States); w.at.State, w.at.Cursor = w.at.State+1, "" {
		for {
			jobs, next, err := w.s.cfg.Lookup.List(ctx, job.Filter{
				Queue: w.filter.Queue, State: w.filter.States[w.at.State], Viewer: w.viewer, Cursor: w.at.Cursor, Limit: bulkPage,
			})
			if err != nil {
				return false, err
			}
			for _, j := range jobs {
				if w.matches(j) {
					if err := f(j); err != nil {
						return false, err
					}
				}
				w.at.Cursor = j.ID
				if time.Now().After(w.until) {
					return false, nil
				}
			}
			if next == "" {
				break
			}
			w.at.Cursor = next
		}
	}
	return true, nil
}

func (w *walk) matches(j job.Job) bool {
	f := w.filter
	switch {
	case !w.viewer.Owns(j.Owner), j.CreatedAt.UnixMilli() > w.at.Before, f.Runtime != "" && runtimeOf(j) != f.Runtime,
		!f.CreatedBefore.IsZero() && !j.CreatedAt.Before(f.CreatedBefore):
		return false
	case len(w.want) == 0:
		return true
	}
	var has map[string]any
	if json.Unmarshal(j.Metadata, &has) != nil {
		return false
	}
	for name, value := range w.want {
		if got, ok := has[name]; !ok || !reflect.DeepEqual(got, value) {
			return false
		}
	}
	return true
}

// runtimeOf returns the name of the runtime that a job asks for, without the set of its packages.
func runtimeOf(j job.Job) string {
	runtime, _ := job.SplitPackages(j.Runtime)
	return runtime
}
