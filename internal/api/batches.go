package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	batchesTag    = "Batches"
	batchesPath   = "/v1/batches"
	batchLocation = batchesPath + "/"
	ndjson        = "application/x-ndjson"
)

// BatchView is a batch as callers see it.
type BatchView struct {
	ID         string             `json:"id"`
	Name       string             `json:"name,omitempty"`
	State      job.BatchState     `json:"state" enum:"receiving,running,cancelling,completed,cancelled,failed" doc:"receiving (lines are still to come), running (all have come), cancelling, completed (all jobs have ended), cancelled, failed (it was not sent to its end: see failure)."`
	Received   BatchReceived      `json:"received"`
	Jobs       BatchCountsView    `json:"jobs"`
	Rate       *float64           `json:"rate,omitempty" doc:"Jobs that ended per second, in the last minute."`
	EndsAt     *time.Time         `json:"estimatedEnd,omitempty" doc:"When its last job ends, if it goes on at this rate."`
	CreatedAt  time.Time          `json:"createdAt"`
	ReceivedAt *time.Time         `json:"receivedAt,omitempty" doc:"When its last line came."`
	FinishedAt *time.Time         `json:"finishedAt,omitempty"`
	BadLines   string             `json:"badLines" enum:"refuse,skip" doc:"The effect of a line that describes no job: refuse (nothing of the batch runs), skip (it is left out)."`
	RerunOf    string             `json:"rerunOf,omitempty" doc:"The batch of which it runs some jobs again."`
	KeepLines  bool               `json:"keepLines,omitempty" doc:"Its lines are kept, so some of its jobs can run again."`
	Archive    *job.BatchArchive  `json:"archive,omitempty" doc:"The object with all its results, if one was asked for."`
	Webhook    *job.BatchHook     `json:"webhook,omitempty" doc:"The messages about it, if some were asked for."`
	Failure    *job.Failure       `json:"failure,omitempty"`
	Refusals   []job.BatchRefusal `json:"refusals,omitempty" nullable:"false" doc:"The first 100 lines that were left out, with their mistakes. Not in lists."`
}

// BatchReceived is what has come of a batch.
type BatchReceived struct {
	Lines int64 `json:"lines" doc:"Lines that are recorded, of all kinds. A client that was cut off sends those that follow."`
	Jobs  int64 `json:"jobs" doc:"Jobs in these lines, with those that were refused."`
}

// BatchCountsView are the numbers of a batch's jobs.
type BatchCountsView struct {
	Waiting     int64 `json:"waiting"`
	Running     int64 `json:"running"`
	Completed   int64 `json:"completed" doc:"The code ran, however it ended: the sum of ok, error, interrupted and exit."`
	OK          int64 `json:"ok"`
	Error       int64 `json:"error"`
	Interrupted int64 `json:"interrupted"`
	Exit        int64 `json:"exit"`
	Cancelled   int64 `json:"cancelled"`
	Failed      int64 `json:"failed"`
	Refused     int64 `json:"refused" doc:"Lines that were left out."`
}

func batchView(b job.Batch, refusals []job.BatchRefusal) BatchView {
	n := b.Counts
	v := BatchView{
		ID: b.ID, Name: b.Name, State: b.State, Received: BatchReceived{b.Lines, n.Jobs}, Failure: b.Failure, Refusals: refusals,
		CreatedAt: b.CreatedAt, FinishedAt: optional(b.FinishedAt), BadLines: badLinesRefuse,
		RerunOf: b.Rerun.Of, KeepLines: b.Keep, Archive: b.Archive, Webhook: b.Hook,
		Jobs: BatchCountsView{
			Waiting: n.Waiting, Running: n.Running, Completed: n.Completed, Cancelled: n.Cancelled, Failed: n.Failed, Refused: n.Refused,
			OK: n.Statuses[job.StatusOK], Error: n.Statuses[job.StatusError], Interrupted: n.Statuses[job.StatusInterrupted], Exit: n.Statuses[job.StatusExit],
		},
	}
	if b.Skip {
		v.BadLines = badLinesSkip
	}
	if b.State != job.BatchReceiving {
		v.ReceivedAt = optional(b.ReceivedAt)
	}
	if b.Rate > 0 {
		v.Rate = &b.Rate
	}
	if b.Remaining > 0 {
		at := time.Now().Add(b.Remaining).UTC().Truncate(time.Second)
		v.EndsAt = &at
	}
	return v
}

// BatchWebhookBody is the message about a batch: the batch as GET shows it, and how many percent of its jobs had ended when the message
// became due.
func BatchWebhookBody(b job.Batch, percent int) ([]byte, error) {
	what := "batch.progress"
	if percent == 100 {
		what = "batch.finished"
	}
	return json.Marshal(struct {
		Type    string    `json:"type"`
		Percent int       `json:"percent"`
		Batch   BatchView `json:"batch"`
	}{what, percent, batchView(b, nil)})
}

type batchesSubmitInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"The same key with the same lines makes one batch only, for 24 hours. A client that was cut off sends all lines again with the same key: those that are recorded are compared and skipped."`
	Name           string `query:"name" maxLength:"800" doc:"A name for people."`
	BadLines       string `query:"badLines" enum:"refuse,skip" doc:"The effect of a line that describes no job. refuse, the default: nothing of the batch runs. skip: it is left out, and the others run as they come."`
	Archive        bool   `query:"archive" doc:"Write all results to the blob store as one compressed object when the batch has ended: GET /v1/batches/{id}/archive."`
	Queue          string `query:"queue" maxLength:"64" doc:"Queue of the jobs whose lines name none."`
}

type batchesSubmitOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotent-Replayed" doc:"true when the Idempotency-Key was used before and the batch, which is complete, is the one it made then."`
	Body     BatchView
}

type batchAppendInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the batch."`
	From int64  `query:"from" required:"true" minimum:"0" doc:"How many lines of the batch come before the first of this body: received.lines of GET /v1/batches/{id}."`
}

type batchIDInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the batch."`
}

type batchesOutput struct{ Body BatchView }

type listBatchesInput struct {
	Cursor string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Batches per page."`
}

type listBatchesOutput struct {
	Body struct {
		Batches    []BatchView `json:"batches" nullable:"false" doc:"Newest first."`
		NextCursor string      `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

func (s *server) registerBatches() {
	tags := []string{batchesTag}
	sending := []int{400, 401, 408, 409, 410, 413, 415, 429, 503}
	register(s, huma.Operation{
		OperationID: submitBatchOperation, Method: http.MethodPost, Path: batchesPath, Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Submit a batch of up to a million jobs",
		Description: "A job in each line, as for POST /v1/jobs, taken as it comes. The first line may be {\"batch\": {…}}, for all of them. The Content-Type does not matter; gzip is recognised. Answered when all lines are recorded.",
		Errors:      sending,
	}, s.submitLines)
	register(s, huma.Operation{
		OperationID: appendBatchOperation, Method: http.MethodPost, Path: batchesPath + "/{id}/lines", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Send the rest of a batch whose sending was cut off", Description: "The lines after the first `from`, to the last one of the batch.",
		Errors: append([]int{404}, sending...),
	}, s.appendLines)
	register(s, huma.Operation{
		OperationID: "listBatches", Method: http.MethodGet, Path: batchesPath, Tags: tags,
		Summary: "List batches, newest first", Errors: []int{400, 401, 429, 503},
	}, s.listBatches)
	register(s, huma.Operation{
		OperationID: "getBatch", Method: http.MethodGet, Path: batchesPath + "/{id}", Tags: tags,
		Summary: "Look at the progress of a batch", Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.getBatch)
	register(s, huma.Operation{
		OperationID: "cancelBatch", Method: http.MethodDelete, Path: batchesPath + "/{id}", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Cancel a batch", Description: "Waiting jobs never run, and running ones are interrupted. The batch has ended when its state is cancelled.",
		Errors: []int{400, 401, 404, 409, 410, 429, 503},
	}, s.cancelBatch)
	register(s, huma.Operation{
		OperationID: "deleteBatch", Method: http.MethodDelete, Path: batchesPath + "/{id}/record", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a batch that has ended", Description: "Its jobs stay until they expire.",
		Errors: []int{400, 401, 404, 409, 410, 429, 503},
	}, s.deleteBatch)
	s.registerRerun(tags)
	s.registerArchive(tags)
	registry := s.api.OpenAPI().Components.Schemas
	header := registry.Schema(reflect.TypeFor[BatchHeader](), true, "")
	s.lineSchema = optionalFields(registry, s.jobSchema)
	s.headerSchema = &huma.Schema{
		Type: huma.TypeObject, Required: []string{"batch"}, AdditionalProperties: false, Properties: map[string]*huma.Schema{"batch": header},
	}
	s.headerSchema.PrecomputeMessages()
	for _, path := range []string{batchesPath, batchesPath + "/{id}/lines"} {
		s.api.OpenAPI().Paths[path].Post.RequestBody = &huma.RequestBody{
			Required: true, Description: "A JobBody in each line, and perhaps a BatchHeader in the first.",
			Content: map[string]*huma.MediaType{ndjson: {Schema: &huma.Schema{
				AnyOf: []*huma.Schema{s.jobSchema, {Type: huma.TypeObject, Required: []string{"batch"}, Properties: map[string]*huma.Schema{"batch": header}}},
			}}},
		}
	}
}

func (s *server) listBatches(ctx context.Context, in *listBatchesInput) (*listBatchesOutput, error) {
	if in.Cursor != "" && !job.IsBatchID(in.Cursor) {
		const msg = "is not a cursor; send the nextCursor of the page before"
		return nil, badRequest("query.cursor: "+msg, FieldIssue{"query.cursor", msg})
	}
	batches, next, err := s.cfg.Service.Batches(ctx, service.CallerOf(ctx), job.BatchFilter{Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := new(listBatchesOutput)
	out.Body.NextCursor = next
	out.Body.Batches = make([]BatchView, len(batches))
	for i, b := range batches {
		out.Body.Batches[i] = batchView(b, nil)
	}
	return out, nil
}

func (s *server) getBatch(ctx context.Context, in *batchIDInput) (*batchesOutput, error) {
	b, refusals, err := s.cfg.Service.Batch(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &batchesOutput{batchView(b, refusals)}, nil
}

func (s *server) cancelBatch(ctx context.Context, in *batchIDInput) (*batchesOutput, error) {
	b, err := s.cfg.Service.CancelBatch(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &batchesOutput{batchView(b, nil)}, nil
}

func (s *server) deleteBatch(ctx context.Context, in *batchIDInput) (*struct{}, error) {
	return nil, s.cfg.Service.DeleteBatch(ctx, service.CallerOf(ctx), in.ID)
}

// batchProblem words errors of batches; nil if it is none.
func batchProblem(err error) *Problem {
	var many *service.TooManyJobsError
	var open *job.BatchesFullError
	var awaited *job.AwaitedError
	switch {
	case errors.Is(err, job.ErrNoBatch):
		return newProblem(http.StatusNotFound, "not_found", "no batch has this id; check the id")
	case errors.Is(err, service.ErrBatchGone):
		return newProblem(http.StatusGone, "gone", "the batch has expired; ask for a longer resultTtl next time")
	case errors.Is(err, service.ErrLinesGone):
		return newProblem(http.StatusGone, "lines_gone", "the lines of this batch are not there any more; send a batch with keepLines to run jobs of it again")
	case errors.Is(err, service.ErrNothingToRerun):
		return newProblem(http.StatusConflict, "nothing_to_rerun", "no job of the batch has ended so")
	case errors.Is(err, service.ErrNoArchive):
		return newProblem(http.StatusNotFound, "no_archive", "this batch was sent without archive; its results are at GET /v1/batches/{id}/results until they expire")
	case errors.Is(err, service.ErrArchiveWaits):
		p := newProblem(http.StatusConflict, "archive_waits", "the archive is written when the batch has ended; see archive of GET /v1/batches/{id}, and try again")
		p.retryAfter = 5 * time.Second
		return p
	case errors.Is(err, service.ErrNoBatchJobs):
		return badRequest("the body has no jobs; send a JSON object in each line, as for POST /v1/jobs")
	case errors.Is(err, job.ErrBatchBusy):
		p := newProblem(http.StatusConflict, "batch_busy", "another request sends this batch, or did so a moment ago; look at it with GET /v1/batches/{id}, and try again if it does not go on")
		p.retryAfter = 5 * time.Second
		return p
	case errors.Is(err, job.ErrBatchClosed):
		return newProblem(http.StatusConflict, "batch_closed", "the batch takes no more lines: it was cancelled, or is complete")
	case errors.Is(err, job.ErrBatchUnended):
		return newProblem(http.StatusConflict, "not_finished", "the batch has not ended; cancel it and wait for its end (DELETE /v1/batches/{id}), then delete it")
	case errors.Is(err, job.ErrBatchEnded):
		return newProblem(http.StatusConflict, "already_finished", "the batch has already ended, so it cannot be cancelled")
	case errors.As(err, &many):
		return newProblem(http.StatusRequestEntityTooLarge, "batch_too_large", many.Error()+"; send more batches")
	case errors.As(err, &awaited):
		return tooMuch("batch_awaited", "as many jobs wait for the end of this batch as may; let one job do what follows it", awaited.Depth, awaited.Limit, fullRetryAfter)
	case errors.As(err, &open):
		return tooMuch("too_many_batches", "this API key has as many batches that have not ended as it may; try again when one has", open.InUse, open.Limit, fullRetryAfter)
	}
	return nil
}
