package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type batchResultsInput struct {
	ID     string       `path:"id" maxLength:"64" doc:"Id of the batch."`
	Order  string       `query:"order" enum:"submission,completion" default:"submission" doc:"submission: up to the first job that has not ended. completion: as the jobs ended."`
	State  []job.State  `query:"state" enum:"completed,cancelled,failed,refused" doc:"Only jobs that ended in one of these states, or with one of the statuses; refused are lines that were left out."`
	Status []job.Status `query:"status" enum:"ok,error,interrupted,exit" doc:"Only completed jobs with one of these statuses, and those in one of the states."`
	Cursor string       `query:"cursor" maxLength:"64" doc:"cursor of a line: goes on after it."`
	Follow bool         `query:"follow" doc:"Goes on until all jobs have ended."`
}

// BatchResultLine is a line of the results of a batch.
type BatchResultLine struct {
	Index   int64        `json:"index" doc:"Number in the batch, from 0."`
	JobID   string       `json:"jobId,omitempty" doc:"Absent for a refused line."`
	State   job.State    `json:"state" enum:"completed,cancelled,failed,refused" doc:"As that of a job. refused: the line described no job; see error."`
	Status  job.Status   `json:"status,omitempty" enum:"ok,error,interrupted,exit" doc:"How the code of a completed job ended."`
	Result  *job.Result  `json:"result,omitempty" doc:"As in GET /v1/jobs/{id}."`
	Failure *job.Failure `json:"failure,omitempty" doc:"Why Kaa did not carry the job out."`
	Expired bool         `json:"expired,omitempty" doc:"The record of the job has expired or was deleted, and with it the result."`
	Line    int64        `json:"line,omitempty" doc:"Number of a refused line in the input, from 1. Only for the first 1,000 of a batch."`
	Error   string       `json:"error,omitempty" doc:"The mistake in a refused line."`
	Cursor  string       `json:"cursor" doc:"Place after this line."`
}

// BatchResultsEnd is the last line of the results of a batch. A stream without it was cut off.
type BatchResultsEnd struct {
	End    string `json:"end" enum:"all,unfinished,broken" doc:"all: all jobs have ended, and these are all results. unfinished: jobs have still to end. broken: see code and detail; go on from cursor, unless the code is gone or not_found."`
	Cursor string `json:"cursor" doc:"Place after all that was looked at."`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func (s *server) registerBatchResults() {
	registry := s.api.OpenAPI().Components.Schemas
	line := &huma.Schema{AnyOf: []*huma.Schema{
		registry.Schema(reflect.TypeFor[BatchResultLine](), true, ""), registry.Schema(reflect.TypeFor[BatchResultsEnd](), true, ""),
	}}
	register(s, huma.Operation{
		OperationID: "getBatchResults", Method: http.MethodGet, Path: batchesPath + "/{id}/results", Tags: []string{batchesTag},
		Summary: "Read the results of a batch",
		Description: "A line of JSON for each job that has ended and each line that was refused, and a last one that says whether these are all. " +
			"With follow an empty line comes every 15 s in which nothing else does.",
		Responses: map[string]*huma.Response{"200": {Description: "The results.", Content: map[string]*huma.MediaType{ndjson: {Schema: line}}}},
		Errors:    []int{400, 401, 404, 410, 429, 503},
	}, s.batchResults)
}

func (s *server) batchResults(ctx context.Context, in *batchResultsInput) (*eventsOutput, error) {
	f, err := s.cfg.Service.BatchResults(ctx, service.CallerOf(ctx), in.ID, service.ResultsRequest{
		Order: job.BatchOrder(in.Order), Marks: job.MarksOf(in.State, in.Status), Cursor: in.Cursor, Follow: in.Follow,
	})
	if errors.Is(err, job.ErrBatchCursor) {
		msg := job.ErrBatchCursor.Error()
		return nil, badRequest("query.cursor: "+msg, FieldIssue{"query.cursor", msg})
	}
	if err != nil {
		return nil, err
	}
	return &eventsOutput{Status: http.StatusOK, Body: func(ctx huma.Context) {
		defer f.Close()
		s.logStream(ctx.Context(), in.ID, s.serveResults(ctx, in.ID, f))
	}}, nil
}

// serveResults writes the results of a batch, until their end or that of the connection.
func (s *server) serveResults(ctx huma.Context, id string, from *service.Results) error {
	out, err := s.newStream(ctx, ndjson)
	if err != nil || service.CallOf(ctx.Context()).HeadOnly {
		return err
	}
	if err := out.control.Flush(); err != nil {
		return err //nolint:wrapcheck // the caller has gone
	}
	lines := lineWriter{out: out}
	for {
		if !from.Ready() {
			if err := lines.flush(); err != nil {
				return err
			}
		}
		r, err := from.Next(ctx.Context(), keepAlive)
		err = service.OfKey(ctx.Context(), err)
		switch {
		case err == nil:
			line := resultLine(id, r, from.CursorAfter(r))
			line.Result = withURLs(ctx.Context(), line.JobID, line.Result)
			err = lines.add(line)
		case errors.Is(err, service.ErrOver):
			end := BatchResultsEnd{End: "unfinished"}
			whole := false
			if end.Cursor, whole = from.End(); whole {
				end.End = "all"
			}
			return errors.Join(lines.add(end), lines.flush())
		case ctx.Context().Err() != nil && !errors.Is(err, service.ErrUnauthorized):
			return err // the caller has gone
		case errors.Is(err, service.ErrQuiet):
			err = out.write([]byte("\n"))
		default:
			p := s.brokenBy(ctx.Context(), id, err)
			end := BatchResultsEnd{End: "broken", Code: p.Code, Detail: p.Detail}
			end.Cursor, _ = from.End()
			return errors.Join(err, lines.add(end), lines.flush())
		}
		if err != nil {
			return err
		}
	}
}

func resultLine(batch string, r job.BatchResult, cursor string) BatchResultLine {
	l := BatchResultLine{
		Index: r.Index, State: r.Mark.State(), Status: r.Mark.Status(), Result: r.Job.Result, Failure: r.Job.Failure, Expired: r.Expired, Cursor: cursor,
	}
	switch {
	case r.Mark != job.MarkRefused:
		l.JobID = job.BatchJobID(batch, r.Index)
	case r.Refusal != nil:
		l.Line, l.Error = r.Refusal.Line, r.Refusal.Message
	default:
		l.Error = "the line describes no job; the mistakes of the first 1,000 such lines are kept"
	}
	return l
}

// lineWriter writes lines of JSON, several small ones at a time.
type lineWriter struct {
	out  *sse
	text bytes.Buffer
}

func (w *lineWriter) add(line any) error {
	if r, ok := line.(BatchResultLine); ok && isLarge(r.Result) {
		if err := w.flush(); err != nil {
			return err
		}
		return encode(pieces{w.out}, line)
	}
	if err := marshal(&w.text, line); err != nil {
		return err
	}
	if w.text.Len() < ssePiece {
		return nil
	}
	return w.flush()
}

func (w *lineWriter) flush() error {
	if w.text.Len() == 0 {
		return nil
	}
	err := w.out.write(w.text.Bytes())
	w.text.Reset()
	return err
}

// pieces is a stream as a Writer.
type pieces struct{ out *sse }

func (p pieces) Write(text []byte) (int, error) {
	if err := p.out.write(text); err != nil {
		return 0, err
	}
	return len(text), nil
}
