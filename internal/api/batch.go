package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type batchInput struct {
	Body rawBatch
}

type batchOutput struct {
	Body struct {
		Jobs []batchEntry `json:"jobs" nullable:"false" doc:"In the order sent: a job each, or {error: problem}."`
	}
}

// BatchBody is a list of jobs.
type BatchBody struct {
	Jobs []JobBody `json:"jobs" minItems:"1" maxItems:"1000" nullable:"false" doc:"Jobs to accept, each as for POST /v1/jobs."`
}

// rawBatch is a BatchBody that is not decoded yet: submitBatch does that item by
// item, so that a mistake in one is that one's error.
type rawBatch json.RawMessage

// Schema describes it to huma.
func (rawBatch) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[BatchBody](), true, "")
}

// UnmarshalJSON keeps the text.
func (b *rawBatch) UnmarshalJSON(text []byte) error {
	*b = bytes.Clone(text)
	return nil
}

// batchEntry is what became of one item: a job, or why it was refused.
type batchEntry struct {
	job     *JobView
	problem *Problem
}

// Schema describes it to huma.
func (batchEntry) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{
		r.Schema(reflect.TypeFor[JobView](), true, ""),
		{
			Type: huma.TypeObject, Required: []string{"error"},
			Properties: map[string]*huma.Schema{"error": r.Schema(reflect.TypeFor[Problem](), true, "")},
		},
	}}
}

// MarshalJSON writes the one that there is.
func (e batchEntry) MarshalJSON() ([]byte, error) {
	if e.problem != nil {
		return json.Marshal(map[string]*Problem{"error": e.problem})
	}
	return json.Marshal(e.job)
}

func (s *server) submitBatch(ctx context.Context, in *batchInput) (*batchOutput, error) {
	// A batch is a thousand requests: without a bound a few of them would keep all
	// others waiting for a processor.
	select {
	case s.batches <- struct{}{}:
		defer func() { <-s.batches }()
	case <-ctx.Done():
		return nil, fmt.Errorf("submit batch: %w", ctx.Err())
	}
	items, err := s.batchItems(in.Body)
	if err != nil {
		return nil, err
	}
	out := new(batchOutput)
	out.Body.Jobs = make([]batchEntry, len(items))
	var subs []service.Submission
	var places []int // of the submissions in the answer
	for i, item := range items {
		if err := ctx.Err(); err != nil { // its caller has gone
			return nil, fmt.Errorf("submit batch: %w", err)
		}
		request, err := s.itemRequest(item)
		if err != nil {
			s.refuseItem(&out.Body.Jobs[i], err)
			continue
		}
		subs = append(subs, service.Submission{Request: request})
		places = append(places, i)
	}
	created, err := s.cfg.Service.SubmitAll(ctx, service.CallerOf(ctx), subs)
	if err != nil {
		return nil, err
	}
	for i, c := range created {
		entry := &out.Body.Jobs[places[i]]
		if c.Err != nil {
			s.refuseItem(entry, c.Err)
			continue
		}
		view := viewOf(c.Job)
		entry.job = &view
	}
	return out, nil
}

// refuseItem puts what is wrong with an item into its entry.
func (s *server) refuseItem(entry *batchEntry, err error) {
	entry.problem, _ = problemOf(err)
	s.cfg.Observer.Problem(entry.problem.Status, entry.problem.Code)
}

// batchFields is how many fields, known or not, may be beside the items of a batch.
const batchFields = 16

// batchItems checks what is around the items of a batch and returns them. It decodes nothing
// of an item, and counts them first: two bytes of text would cost a hundred of memory.
func (s *server) batchItems(body rawBatch) ([]json.RawMessage, error) {
	if shallow(body, 2) > maxBatch+batchFields {
		return nil, badRequest(fmt.Sprintf("body.jobs: a batch has at most %d jobs; send more batches", maxBatch))
	}
	outline := kindOf(json.RawMessage(body))
	var items []json.RawMessage
	if fields, ok := outline.(map[string]any); ok {
		var texts map[string]json.RawMessage
		if err := json.Unmarshal(body, &texts); err != nil {
			return nil, badRequest(jsonMistake(body, err))
		}
		for name, text := range texts {
			fields[name] = kindOf(text)
		}
		if _, ok := fields["jobs"].([]any); ok {
			if err := json.Unmarshal(texts["jobs"], &items); err != nil {
				return nil, fmt.Errorf("submit batch: %w", err)
			}
			fields["jobs"] = make([]any, len(items))
		}
	}
	envelope := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"jobs"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"jobs": {Type: huma.TypeArray, MinItems: new(1), MaxItems: new(maxBatch), Items: &huma.Schema{}},
		},
	}
	envelope.PrecomputeMessages()
	if err := s.validate(envelope, outline); err != nil {
		return nil, err
	}
	return items, nil
}

// validate checks a value as huma checks a body.
func (s *server) validate(schema *huma.Schema, v any) error {
	result := &huma.ValidateResult{}
	path := huma.NewPathBuffer([]byte("body"), len("body"))
	huma.Validate(s.api.OpenAPI().Components.Schemas, schema, path, huma.ModeWriteToServer, v, result)
	if len(result.Errors) > 0 {
		return humaError(newHints(s.api.OpenAPI().Components.Schemas, schema), http.StatusBadRequest, "validation failed", result.Errors)
	}
	return nil
}

// itemRequest does for one item of a batch what huma does for a whole body.
func (s *server) itemRequest(item json.RawMessage) (job.Request, error) {
	var parsed any
	if err := unmarshal(item, &parsed); err != nil {
		return job.Request{}, badRequest(withoutGo(err.Error()))
	}
	if err := s.validate(s.jobSchema, parsed); err != nil {
		return job.Request{}, err
	}
	var body JobBody
	if err := unmarshal(item, &body); err != nil {
		return job.Request{}, badRequest(withoutGo(err.Error()))
	}
	return body.request(), nil
}
