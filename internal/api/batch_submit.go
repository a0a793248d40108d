package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	submitBatchOperation = "submitBatch"
	appendBatchOperation = "appendBatch"

	badLinesRefuse = "refuse"
	badLinesSkip   = "skip"

	// A chunk has at most this many jobs, and bytes of lines unless one alone has more.
	chunkJobs  = 500
	chunkBytes = 512 << 10
	// rescueTime bounds the recording of the lines before the body broke off.
	rescueTime = 5 * time.Second
	// shownLines is how many bad lines a refusal lists.
	shownLines = 20
)

// BatchHeader is for all lines of a batch. The first may be one.
type BatchHeader struct {
	Name      string         `json:"name,omitempty" maxLength:"800" doc:"A name for people."`
	BadLines  string         `json:"badLines,omitempty" enum:"refuse,skip" doc:"The effect of a line that describes no job. Default: refuse."`
	ResultTTL *float64       `json:"resultTtl,omitempty" nullable:"true" doc:"Seconds the record of the batch is kept after its end. Default: as that of a job."`
	KeepLines bool           `json:"keepLines,omitempty" doc:"Keep the lines as long as the record of the batch, so that some of its jobs can run again. They count among the bytes of the key."`
	Archive   bool           `json:"archive,omitempty" doc:"Write all results to the blob store as one compressed object when the batch has ended. It lives as long as the record of the batch."`
	Webhook   *BatchHookBody `json:"webhook,omitempty" doc:"Where to send the batch when it has ended, and on the way if asked."`
	Defaults  *BatchDefaults `json:"defaults,omitempty" doc:"Fields of a job for all lines that do not have them, code too. A field of a line replaces the whole field."`
}

// BatchHookBody asks for messages about a batch.
type BatchHookBody struct {
	URL     string  `json:"url" doc:"Gets POSTs with the batch. https, and a public address." example:"https://example.com/kaa"`
	Secret  *string `json:"secret,omitempty" nullable:"true" doc:"Signs the messages (Kaa-Signature). Never shown again."`
	Percent *whole  `json:"percent,omitempty" nullable:"true" doc:"Send a message whenever so many percent of the jobs have ended, from 1 to 100. Default: one message at the end."`
}

func (b *BatchHookBody) request() *job.BatchHookRequest {
	if b == nil {
		return nil
	}
	return &job.BatchHookRequest{WebhookRequest: job.WebhookRequest{URL: b.URL, Secret: job.Secret(value(b.Secret))}, Percent: b.Percent.int()}
}

// BatchDefaults are fields of jobs, all of them optional.
type BatchDefaults json.RawMessage

// Schema describes it to huma.
func (BatchDefaults) Schema(r huma.Registry) *huma.Schema {
	return optionalFields(r, r.Schema(reflect.TypeFor[JobBody](), true, "JobBody"))
}

// UnmarshalJSON keeps the text.
func (d *BatchDefaults) UnmarshalJSON(text []byte) error {
	*d = bytes.Clone(text)
	return nil
}

// MarshalJSON writes it as it came.
func (d BatchDefaults) MarshalJSON() ([]byte, error) { return json.RawMessage(d).MarshalJSON() }

// optionalFields is the schema of an object of which each field may be left out.
func optionalFields(r huma.Registry, of *huma.Schema) *huma.Schema {
	if of.Ref != "" {
		of = r.SchemaFromRef(of.Ref)
	}
	schema := *of
	schema.Required = nil
	schema.PrecomputeMessages()
	return &schema
}

// submitLines takes a batch.
func (s *server) submitLines(ctx context.Context, in *batchesSubmitInput) (*batchesSubmitOutput, error) {
	limits := s.cfg.Service.BatchLimits()
	from, err := newLines(streamOf(ctx), limits.Bytes, limits.LineBytes)
	if err != nil {
		return nil, err
	}
	// An idempotency key stands for the query, too.
	fmt.Fprintf(from.hash, "%q %q %q\n", in.Name, in.BadLines, in.Queue)
	if in.Archive {
		fmt.Fprintln(from.hash, "archive")
	}
	begin, err := from.sum()
	if err != nil {
		return nil, err
	}
	request, err := s.batchHeader(in, from)
	if err != nil {
		return nil, err
	}
	request.Sum, request.IdempotencyKey = begin, in.IdempotencyKey
	w, err := s.cfg.Service.BeginBatch(ctx, service.CallerOf(ctx), request)
	if err != nil {
		return nil, err
	}
	defer w.Leave(ctx, false)
	if w.Place.Lines > 0 || w.Complete {
		if err := skipKnown(from, w); err != nil {
			return nil, err
		}
	}
	b, err := s.receive(ctx, from, w)
	if err != nil {
		return nil, err
	}
	out := &batchesSubmitOutput{Location: batchLocation + b.ID, Body: batchView(b, nil)}
	if w.Complete {
		out.Replayed = "true"
	}
	return out, nil
}

// appendLines takes the rest of a batch.
func (s *server) appendLines(ctx context.Context, in *batchAppendInput) (*batchesSubmitOutput, error) {
	w, err := s.cfg.Service.ResumeBatch(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	defer w.Leave(ctx, false)
	if w.Complete {
		return nil, job.ErrBatchClosed
	}
	if in.From != w.Place.Lines {
		p := newProblem(409, "wrong_line", fmt.Sprintf("the batch has %d lines, so the body has to begin with the one after these; send it with from=%[1]d", w.Place.Lines))
		p.Depth = &w.Place.Lines
		return nil, p
	}
	limits := s.cfg.Service.BatchLimits()
	from, err := newLines(streamOf(ctx), limits.Bytes-w.Place.Bytes, limits.LineBytes)
	if err != nil {
		return nil, err
	}
	if err := from.goOn(w.Place.Lines, w.Place.Bytes, w.Place.Sum); err != nil {
		return nil, err
	}
	if w.Place.Lines == 0 { // the header was read before, and was not recorded
		if _, err := s.batchHeader(&batchesSubmitInput{}, from); err != nil {
			return nil, err
		}
	}
	b, err := s.receive(ctx, from, w)
	if err != nil {
		return nil, err
	}
	return &batchesSubmitOutput{Location: batchLocation + b.ID, Body: batchView(b, nil)}, nil
}

// skipKnown reads what the batch has, which must be the same.
func skipKnown(from *lines, w *service.BatchWriter) error {
	for from.number < w.Place.Lines {
		err := from.next()
		if errors.Is(err, io.EOF) {
			return job.ErrIdempotencyMismatch
		}
		if err != nil {
			return err
		}
	}
	sum, err := from.sum()
	if err != nil {
		return err
	}
	if from.bytes != w.Place.Bytes || !bytes.Equal(sum, w.Place.Sum) {
		return job.ErrIdempotencyMismatch
	}
	from.unread = false
	if !w.Complete {
		return nil
	}
	switch err := from.next(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return job.ErrIdempotencyMismatch
}

// batchHeader reads the first line if it is for all of the batch. The query goes before it.
func (s *server) batchHeader(in *batchesSubmitInput, from *lines) (service.BatchRequest, error) {
	var header struct {
		Batch BatchHeader `json:"batch"`
	}
	err := from.next()
	switch {
	case errors.Is(err, io.EOF):
		return service.BatchRequest{}, service.ErrNoBatchJobs
	case err != nil:
		return service.BatchRequest{}, err
	}
	from.unread = true
	if text := bytes.TrimSpace(from.line); !from.tooLong && bytes.HasPrefix(text, []byte(`{`)) && isHeader(text) {
		var parsed any
		if err := unmarshal(text, &parsed); err != nil {
			return service.BatchRequest{}, badRequest("line 1: " + jsonMistake(text, err))
		}
		if err := s.validate(s.headerSchema, parsed); err != nil {
			return service.BatchRequest{}, ofLine(err, 1)
		}
		if err := unmarshal(text, &header); err != nil {
			return service.BatchRequest{}, badRequest("line 1: " + withoutGo(err.Error()))
		}
		from.unread = false
	}
	b := header.Batch
	r := service.BatchRequest{Name: b.Name, ResultTTL: b.ResultTTL, Skip: b.BadLines == badLinesSkip, Keep: b.KeepLines, Archive: b.Archive || in.Archive, Hook: b.Webhook.request()}
	if in.Name != "" {
		r.Name = in.Name
	}
	if in.BadLines != "" {
		r.Skip = in.BadLines == badLinesSkip
	}
	var defaults JobBody
	if b.Defaults != nil {
		if err := unmarshal(*b.Defaults, &defaults); err != nil {
			return r, badRequest("line 1: " + withoutGo(err.Error()))
		}
	}
	if in.Queue != "" {
		defaults.Queue = &in.Queue
	}
	if r.Defaults, err = json.Marshal(defaults); err != nil {
		return r, fmt.Errorf("keep defaults of batch: %w", err)
	}
	return r, nil
}

// isHeader reports whether an object has the field batch.
func isHeader(text []byte) bool {
	var probe struct {
		Batch json.RawMessage `json:"batch"`
	}
	return json.Unmarshal(text, &probe) == nil && probe.Batch != nil
}

// ofLine says which line a problem is in.
func ofLine(err error, line int64) error {
	p, _ := problemOf(err)
	q := *p
	q.Detail = fmt.Sprintf("line %d: %s", line, p.Detail)
	q.Errors = nil
	for _, issue := range p.Errors {
		q.Errors = append(q.Errors, FieldIssue{fmt.Sprintf("line %d: %s", line, issue.Location), issue.Message})
	}
	return &q
}

// receive takes lines until the last, chunk by chunk.
func (s *server) receive(ctx context.Context, from *lines, w *service.BatchWriter) (job.Batch, error) {
	if w.Complete {
		return w.Close(ctx)
	}
	r := receiver{server: s, ctx: ctx, w: w, from: from}
	if err := unmarshal(w.Defaults, &r.defaults); err != nil {
		return job.Batch{}, fmt.Errorf("read defaults of batch: %w", err)
	}
	for {
		err := r.chunk()
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			return w.Close(ctx)
		}
		var bad *badLines
		var many *service.TooManyJobsError
		var body *service.BodyError
		switch {
		case errors.As(err, &bad):
			w.Leave(ctx, true)
			return job.Batch{}, bad.problem()
		case errors.As(err, &many), errors.As(err, &body) && body.Fault == service.BodyTooLarge:
			w.GiveUp(ctx, "it has more jobs or bytes than a batch may have")
		}
		return job.Batch{}, err
	}
}

// receiver makes chunks of lines.
type receiver struct {
	*server
	ctx      context.Context //nolint:containedctx // it lives as long as one request
	w        *service.BatchWriter
	from     *lines
	defaults JobBody

	blanks   int64
	text     []byte // of the lines of a chunk
	lines    []lineOfChunk
	jobs     []*job.NewJob
	refusals []job.BatchRefusal
}

// lineOfChunk is a line that may describe a job, in text.
type lineOfChunk struct {
	number     int64
	begin, end int
	tooLong    bool
}

// badLines are lines that refuse a batch.
type badLines struct{ lines []job.BatchRefusal }

func (*badLines) Error() string { return "the batch has lines that describe no job" }

func (b *badLines) problem() *Problem {
	var issues []FieldIssue
	for _, r := range b.lines[:min(len(b.lines), shownLines)] {
		issues = append(issues, FieldIssue{fmt.Sprintf("line %d", r.Line), r.Message})
	}
	first := b.lines[0]
	return badRequest(fmt.Sprintf("line %d: %s. No job of the batch was accepted; send it with badLines=skip to leave such lines out", first.Line, first.Message), issues...)
}

// chunk takes as many lines as a chunk may have. io.EOF: those were the last. If the body ends early, the lines
// before are recorded.
func (r *receiver) chunk() error {
	end := r.read()
	if r.from.number == r.w.Place.Lines || r.from.torn {
		return end
	}
	if end != nil && !errors.Is(end, io.EOF) { // the client may have gone
		live := r.ctx
		ctx, cancel := context.WithTimeout(context.WithoutCancel(live), rescueTime)
		defer cancel()
		r.ctx = ctx
		defer func() { r.ctx = live }()
	}
	sum, err := r.from.sum()
	if err != nil {
		return err
	}
	at := r.w.Place
	if err := r.parse(at.Jobs); err != nil {
		return err
	}
	if len(r.refusals) > 0 && !r.w.Skip {
		return &badLines{r.refusals}
	}
	to := job.BatchPlace{Lines: r.from.number, Jobs: at.Jobs + int64(len(r.jobs)), Bytes: r.from.bytes, Sum: sum}
	if err := r.w.Add(r.ctx, to, r.jobs, r.refusals); err != nil {
		return err
	}
	return end
}

// freeBlanks are the blank lines that any batch may have. Half of the others may be blank, too. A megabyte of gzip has a billion of them.
const freeBlanks = 100_000

// read collects the lines of a chunk as they come. It returns why there are no more.
func (r *receiver) read() error {
	r.text, r.lines = r.text[:0], r.lines[:0]
	for size := r.from.bytes; len(r.lines) < chunkJobs && r.from.bytes-size < chunkBytes; {
		if err := r.from.next(); err != nil {
			return err
		}
		if r.from.blank() {
			if r.blanks++; r.blanks > freeBlanks+r.from.number/2 {
				return badRequest(fmt.Sprintf("line %d: more than half of the lines before it are blank; leave blank lines out", r.from.number))
			}
			continue
		}
		l := lineOfChunk{number: r.from.number, begin: len(r.text), tooLong: r.from.tooLong}
		if !l.tooLong {
			r.text = append(r.text, r.from.line...)
		}
		l.end = len(r.text)
		r.lines = append(r.lines, l)
	}
	return nil
}

// parse makes jobs of the lines. That is the work of a submission for each, so only some batches are at it at once.
func (r *receiver) parse(first int64) error {
	select {
	case r.batches <- struct{}{}:
		defer func() { <-r.batches }()
	case <-r.ctx.Done():
		return fmt.Errorf("receive batch: %w", r.ctx.Err())
	}
	r.jobs, r.refusals = r.jobs[:0], nil
	now := time.Now()
	for i, l := range r.lines {
		n, err := r.job(l, now)
		if err != nil {
			p, unforeseen := problemOf(err)
			if unforeseen || r.ctx.Err() != nil {
				return err
			}
			r.refusals = append(r.refusals, job.BatchRefusal{Line: l.number, Index: first + int64(i), Message: clipped(p.Detail)})
			r.cfg.Observer.Problem(p.Status, p.Code)
		}
		r.jobs = append(r.jobs, n)
	}
	return nil
}

func (r *receiver) job(l lineOfChunk, now time.Time) (*job.NewJob, error) {
	if l.tooLong {
		return nil, badRequest(fmt.Sprintf("is longer than %d bytes", r.from.mostLine))
	}
	line := r.text[l.begin:l.end]
	if !utf8.Valid(line) {
		return nil, badRequest("is not valid UTF-8")
	}
	var parsed any
	if err := unmarshal(line, &parsed); err != nil {
		return nil, badRequest(withoutGo(err.Error()))
	}
	if err := r.validate(r.lineSchema, parsed); err != nil {
		return nil, err
	}
	var body JobBody
	if err := unmarshal(line, &body); err != nil {
		return nil, badRequest(withoutGo(err.Error()))
	}
	body.fill(&r.defaults)
	return r.w.Draft(r.ctx, body.request(), now)
}

// fill takes each field that is absent from the defaults.
func (b *JobBody) fill(defaults *JobBody) {
	fillFields(reflect.ValueOf(b).Elem(), reflect.ValueOf(defaults).Elem())
}

func fillFields(to, from reflect.Value) {
	for i := range to.NumField() {
		switch field := to.Field(i); {
		case to.Type().Field(i).Anonymous:
			fillFields(field, from.Field(i))
		case field.IsZero():
			field.Set(from.Field(i))
		}
	}
}
