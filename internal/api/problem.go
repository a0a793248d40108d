package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// statusClientClosed is what the access log shows for a caller who went away;
// no client receives it.
const statusClientClosed = 499

// Problem is what every error is answered with: RFC 9457, with a stable code.
type Problem struct {
	Type     string       `json:"type" doc:"Always about:blank; code names the problem."`
	Title    string       `json:"title" doc:"The HTTP status in words."`
	Status   int          `json:"status" doc:"The HTTP status."`
	Code     string       `json:"code" doc:"Stable name of the problem."`
	Detail   string       `json:"detail" doc:"The problem and its remedy."`
	JobID    string       `json:"jobId,omitempty" doc:"The job, if the problem is about one that was accepted."`
	Reason   string       `json:"reason,omitempty" doc:"With session_ended: why the session has ended."`
	Persist  string       `json:"persist,omitempty" doc:"With session_ended: the volume that keeps the files of the session, if one does."`
	Session  string       `json:"sessionId,omitempty" doc:"With volume_in_use: the session that uses the volume."`
	Scope    string       `json:"scope,omitempty" doc:"With scope_missing: the scope that a key needs for this."`
	Depth    *int64       `json:"depth,omitempty" doc:"How many there are where that is limited: jobs that wait, or calls."`
	Limit    *int64       `json:"limit,omitempty" doc:"How many there may be."`
	Used     *int64       `json:"used,omitempty" doc:"The amount in use where a bound is reached, in its unit: bytes, jobs, sessions or calls."`
	Allowed  *int64       `json:"allowed,omitempty" doc:"The amount that the caller may use."`
	KeyLimit string       `json:"keyLimit,omitempty" enum:"rate,depth,sessions" doc:"The limit of the API key itself that is reached. Absent if the limit is that of all keys."`
	Runtimes []string     `json:"runtimes,omitempty" doc:"With runtime_not_allowed: the runtimes that the API key may use."`
	Errors   []FieldIssue `json:"errors,omitempty" nullable:"false" doc:"The mistakes, field by field."`

	retryAfter time.Duration
	token      bool // it is about a token, as RFC 6750 knows them
}

// FieldIssue is one mistake in a request.
type FieldIssue struct {
	Location string `json:"location" doc:"Where, e.g. body.timeout."`
	Message  string `json:"message" doc:"The mistake."`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus makes huma answer with the problem's own status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is RFC 9457's.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders says when to try again, or how to bring a key.
func (p *Problem) GetHeaders() http.Header {
	if p.Status == http.StatusUnauthorized {
		challenge := `Bearer realm="kaa"`
		if p.token {
			challenge += `, error="invalid_token", error_description="` + quotable(p.Detail) + `"`
		}
		return http.Header{"Www-Authenticate": {challenge}}
	}
	if p.retryAfter == 0 {
		return nil
	}
	return http.Header{"Retry-After": {retryAfterSeconds(p.retryAfter)}}
}

// quotable returns a text as RFC 6750 allows it in a description.
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, text)
}

func retryAfterSeconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second))) // never too early
}

func newProblem(status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

func badRequest(detail string, issues ...FieldIssue) *Problem {
	p := newProblem(http.StatusBadRequest, "invalid_request", detail)
	p.Errors = issues
	return p
}

// tooMuch is a 429: there are as many of something as there may be.
func tooMuch(code, detail string, depth, limit int64, retryAfter time.Duration) *Problem {
	p := newProblem(http.StatusTooManyRequests, code, detail)
	p.Depth, p.Limit, p.retryAfter = &depth, &limit, retryAfter
	p.Used, p.Allowed = &depth, &limit
	return p
}

// bodyProblem words what is wrong with a body.
func bodyProblem(e *service.BodyError) *Problem {
	switch e.Fault {
	case service.BodyTooLarge:
		return newProblem(http.StatusRequestEntityTooLarge, "body_too_large",
			fmt.Sprintf("the request body is larger than %d bytes; send less", e.Limit))
	case service.BodySlow:
		return newProblem(http.StatusRequestTimeout, "body_timeout",
			fmt.Sprintf("nothing of the request body arrived for %s, or less than %d bytes a second", e.Pause, e.BytesPerSecond))
	case service.BodyEncoded:
		if e.Gzip {
			return newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body without Content-Encoding, or with gzip")
		}
		return newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body without Content-Encoding")
	case service.BodyNotText:
		return badRequest(fmt.Sprintf("the request body is not valid UTF-8 (first wrong byte at offset %d); encode it as UTF-8", e.Offset))
	case service.BodyNotGzip:
		return errGzip
	case service.BodyCut:
	}
	return badRequest("the request body ended early; send as many bytes as Content-Length says")
}

// doorProblem words what a request is refused for before it is looked at.
func doorProblem(err error) *Problem {
	var body *service.BodyError
	var rate *service.RateError
	var scope *service.ScopeError
	switch {
	case errors.As(err, &body):
		return bodyProblem(body)
	case errors.As(err, &rate):
		return rateProblem(rate)
	case errors.Is(err, service.ErrUnauthorized):
		return keyProblem(err)
	case errors.Is(err, service.ErrProvider):
		p := newProblem(http.StatusServiceUnavailable, "provider_unavailable", "the identity provider does not answer, so the token cannot be judged; try again")
		p.retryAfter = providerRetryAfter
		return p
	case errors.As(err, &scope):
		p := newProblem(http.StatusForbidden, "scope_missing", fmt.Sprintf("this API key or token lacks the scope %s; use one that has it", scope.Need))
		p.Scope = string(scope.Need)
		return p
	case errors.Is(err, service.ErrTenant):
		return badRequest("header.Kaa-Tenant: "+err.Error(), FieldIssue{"header.Kaa-Tenant", err.Error()})
	case errors.Is(err, service.ErrOrigin):
		return newProblem(http.StatusForbidden, "origin_refused",
			"pages of this origin may not do this; the operator can allow it with KAA_ALLOWED_ORIGINS")
	case errors.Is(err, service.ErrHost):
		return newProblem(http.StatusMisdirectedRequest, "host_refused",
			"this Kaa does not answer to the name in the Host header; call it as localhost or 127.0.0.1, or have the operator name the host in KAA_ALLOWED_HOSTS")
	}
	return nil
}

// rateProblem words a rate that allows no request now.
func rateProblem(e *service.RateError) *Problem {
	used, limit := int64(e.Burst), int64(e.Burst)
	p := tooMuch("rate_limited", "this API key sends more requests than it may; send them more slowly", used, limit, e.After)
	if e.OfKey {
		p.KeyLimit = "rate"
	}
	return p
}

// keyProblem words why a key is not accepted. Only the holder of an expired key learns that it has expired.
func keyProblem(err error) *Problem {
	detail := "send a valid API key as Authorization: Bearer <key> or X-API-Key: <key>"
	wrong := (*service.TokenError)(nil)
	switch {
	case errors.As(err, &wrong):
		detail = wrong.Reason
	case errors.Is(err, service.ErrDamagedKey):
		detail = "the API key is incomplete or mistyped: its checksum does not fit; copy it again"
	case errors.Is(err, service.ErrExpiredKey):
		detail = "the API key or token has expired; use a newer one"
	}
	p := newProblem(http.StatusUnauthorized, "unauthorized", detail)
	p.token = wrong != nil
	return p
}

// busyProblem words what a process has no more of.
func busyProblem(e *service.BusyError) *Problem {
	code, detail := "too_many_waits",
		"as many calls wait at this process as may, or as many of this API key as may while others want to; try again, submit to /v1/jobs, or poll without waiting"
	switch e.Of {
	case service.ScarceSockets:
		code, detail = "too_many_sockets", "this session has as many WebSockets at this process as it may; close one"
	case service.ScarceRequests:
		code, detail = "too_many_requests", "as many requests are under way as may be; wait until some of yours have ended"
	case service.ScarceBytes:
		code, detail = "too_many_bytes", "the process holds as many bytes of requests as it may, or as this API key may while others want some; try again"
	case service.ScarceWaits:
	}
	return tooMuch(code, detail, e.InUse, e.Limit, time.Second)
}

func fullProblem(e *job.FullError) *Problem {
	if e.Bytes {
		return tooMuch("key_storage_full", fmt.Sprintf("the records of this API key (jobs, results, batches, sessions, schedules) take %d bytes, the limit is %d. Delete jobs that are not needed any more (DELETE /v1/jobs/{id}/record), or wait until some have expired. Ask for a shorter resultTtl or less output next time",
			e.Depth, e.Limit), e.Depth, e.Limit, fullStorageAfter)
	}
	if e.Queue == "" {
		p := tooMuch("key_queue_full", fmt.Sprintf("%d jobs of this API key wait, the limit is %d; try again when some have run", e.Depth, e.Limit),
			e.Depth, e.Limit, fullRetryAfter)
		if e.OfKey {
			p.KeyLimit = "depth"
		}
		return p
	}
	return tooMuch("queue_full", fmt.Sprintf("%d jobs wait on the queue %s, the limit is %d; try again when some have run", e.Depth, e.Queue, e.Limit),
		e.Depth, e.Limit, fullRetryAfter)
}

func filesProblem(e *job.FilesFullError) *Problem {
	p := tooMuch(string(e.Code()), e.Error()+"; "+e.Advice(), e.Held, e.Limit, fullStorageAfter)
	if e.All {
		p.Status, p.Title = http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable)
		p.Depth, p.Limit, p.Used, p.Allowed = nil, nil, nil, nil // the figures of all callers are private
	}
	return p
}

// providerRetryAfter is about how often an identity provider that does not answer is asked.
const providerRetryAfter = 5 * time.Second

// fullRetryAfter: a full queue is long, so there is no haste.
const fullRetryAfter = 5 * time.Second

// packagesAfter: a runner keeps the reason for so long before it asks the index again.
const packagesAfter = 10 * time.Second

// fullStorageAfter: results are given back by the minute.
const fullStorageAfter = time.Minute

// problemOf is the only place where an error becomes an HTTP answer. The second
// result says whether the error is unforeseen and to be logged; its
// text may name hosts or paths, so the caller never sees it.
func problemOf(err error) (p *Problem, unforeseen bool) {
	p, unforeseen = translate(err)
	if about, ok := errors.AsType[*service.JobError](err); ok {
		p.JobID = about.ID
	}
	return p, unforeseen
}

func translate(err error) (p *Problem, unforeseen bool) {
	var own *Problem
	var invalid *job.ValidationError
	var end *service.EndError
	var busy *service.BusyError
	var full *job.FullError
	var files *job.FilesFullError
	var schema *job.SchemaError
	var runtime *job.RuntimeError
	var schedules *job.SchedulesFullError
	var lanes *job.LanesError
	var room *job.SessionRoomError
	retry := func(p *Problem, after time.Duration) *Problem { p.retryAfter = after; return p }
	if p := doorProblem(err); p != nil {
		return p, false
	}
	if p := batchProblem(err); p != nil {
		return p, false
	}
	if p := commandProblem(err); p != nil {
		return p, false
	}
	if p := portProblem(err); p != nil {
		return p, false
	}
	if p := volumeProblem(err); p != nil {
		return p, false
	}
	switch {
	case errors.As(err, &own):
		return own, false
	case errors.As(err, &invalid):
		return invalidRequest(invalid), false
	case errors.As(err, &end):
		return endProblem(end), false
	case errors.As(err, &busy):
		return busyProblem(busy), false
	case errors.As(err, &full):
		return fullProblem(full), false
	case errors.As(err, &runtime):
		p := newProblem(http.StatusForbidden, "runtime_not_allowed", runtime.Error())
		p.Runtimes = runtime.Allowed
		return p, false
	case errors.As(err, &files):
		return filesProblem(files), false
	case errors.As(err, &lanes):
		return tooMuch("too_many_at_once", fmt.Sprintf("the session does %d things at once (commands, file operations, contexts that execute), the limit is %d; wait until some have ended, or use another session",
			lanes.Busy, lanes.Limit), lanes.Busy, lanes.Limit, time.Second), false
	case errors.Is(err, job.ErrOldRunner):
		return newProblem(http.StatusConflict, "old_runner", "the session lives on a runner of an older release, which cannot do this; open a new session"), false
	case errors.Is(err, job.ErrSessionEnded), errors.Is(err, job.ErrNoSession), errors.Is(err, job.ErrTooManySessions), errors.As(err, &room),
		errors.Is(err, job.ErrNoRunner), errors.Is(err, service.ErrSessionBusy), errors.Is(err, job.ErrSessionPaused):
		return sessionProblem(err), false
	case errors.Is(err, service.ErrNoContext):
		return newProblem(http.StatusNotFound, string(job.FailNoContext), "the session has no such context; GET /v1/sessions/{id}/contexts lists them"), false
	case errors.Is(err, service.ErrNoKeys):
		return newProblem(http.StatusForbidden, "keys_off", "this Kaa asks for no API keys; the operator sets KAA_ADMIN_KEYS or KAA_API_KEYS_FILE first"), false
	case errors.Is(err, service.ErrNoKey):
		return newProblem(http.StatusNotFound, "not_found", "no key has this id; GET /v1/keys lists them"), false
	case errors.Is(err, service.ErrConfirm):
		return newProblem(http.StatusConflict, "not_confirmed", "this confirm has expired, or is the one of another filter, call or key; count again without confirm"), false
	case errors.Is(err, service.ErrNoQueue):
		return newProblem(http.StatusNotFound, "not_found", "no queue has this name; GET /v1/queues lists them"), false
	case errors.Is(err, service.ErrNoSuchRunner):
		return newProblem(http.StatusNotFound, "not_found", "no live runner has this id; GET /v1/runners lists them"), false
	case errors.Is(err, service.ErrKeyElsewhere):
		return newProblem(http.StatusConflict, "key_configured", "this key is in KAA_API_KEYS, KAA_ADMIN_KEYS or KAA_API_KEYS_FILE; remove it there"), false
	case errors.Is(err, job.ErrNoSchedule):
		return newProblem(http.StatusNotFound, "not_found", "no schedule has this id; GET /v1/schedules lists them"), false
	case errors.Is(err, job.ErrNoEnvironment):
		return newProblem(http.StatusNotFound, "not_found", "this API key has prepared no environment with this id; GET /v1/environments lists them"), false
	case errors.As(err, &schedules):
		return tooMuch("too_many_schedules", fmt.Sprintf("there are %d schedules of this API key, the limit is %d; delete some", schedules.Count, schedules.Limit),
			schedules.Count, schedules.Limit, 0), false
	case errors.Is(err, job.ErrNotFound):
		return newProblem(http.StatusNotFound, "not_found", "no job has this id; check the id"), false
	case errors.Is(err, job.ErrGone):
		return newProblem(http.StatusGone, "gone", "the job's result has expired; ask for a longer resultTtl next time"), false
	case errors.Is(err, job.ErrReplayGone):
		return newProblem(http.StatusGone, "gone", "the job that this Idempotency-Key made has expired; use a new key for a new job"), false
	case errors.Is(err, job.ErrFinished):
		return newProblem(http.StatusConflict, "already_finished", "the job has already ended, so it cannot be cancelled"), false
	case errors.Is(err, service.ErrNotOwner):
		return newProblem(http.StatusNotFound, "not_found", "no job of this API key has this id; only the key that a job came with, and admin keys, can delete it or read its request"), false
	case errors.Is(err, job.ErrUnfinished):
		return newProblem(http.StatusConflict, "not_finished", "the job has not ended; cancel it and wait for its end (DELETE /v1/jobs/{id}, then GET with ?wait=), then delete it"), false
	case errors.Is(err, service.ErrRerunEarly):
		return newProblem(http.StatusConflict, "not_finished", "the job has not ended; wait for its end (GET with ?wait=), then run it again"), false
	case errors.Is(err, job.ErrRequestGone):
		return newProblem(http.StatusConflict, "request_not_kept", "the request of this job was not kept, so it cannot be shown or run again; send it as a new job. Kept are requests of /v1/jobs up to 16 KiB, up to 1 MiB of jobs that failed, and lines of batches with keepLines"), false
	case errors.Is(err, job.ErrIdempotencyMismatch):
		return newProblem(http.StatusConflict, "idempotency_mismatch",
			"this Idempotency-Key was used with a different request; use a new key for a new request"), false
	case errors.Is(err, service.ErrNoRunner), errors.Is(err, service.ErrNoSlot), errors.Is(err, service.ErrKeyBusy), errors.Is(err, service.ErrPaused):
		return waitProblem(err), false
	case errors.Is(err, job.ErrNoInput):
		return newProblem(http.StatusConflict, "no_input", "nothing waits for this input: it was not asked for, or another client has answered"), false
	case errors.Is(err, job.ErrNoCall):
		return newProblem(http.StatusConflict, "no_call", "no such call waits for an answer: it has been answered, it or its job has ended, or the code has not made it"), false
	case errors.Is(err, service.ErrNotEnded):
		return newProblem(http.StatusNotFound, "file_not_found", "the job has not ended; its files are there when it has"), false
	case errors.Is(err, job.ErrNoFile):
		return newProblem(http.StatusNotFound, "file_not_found", "the job has no such file; GET /v1/jobs/{id}/files lists those that there are"), false
	case errors.Is(err, service.ErrFileStore):
		return retry(newProblem(http.StatusServiceUnavailable, "unavailable", "the store of files does not answer; try again"), time.Second), true
	case errors.Is(err, job.ErrStoreFull):
		return retry(newProblem(http.StatusServiceUnavailable, "storage_full", "the job store has no room for more; try again when results have expired"), fullStorageAfter), true
	case errors.Is(err, job.ErrNoMemory):
		return retry(newProblem(http.StatusServiceUnavailable, "too_many_results",
			"the process holds as many bytes of results as it may; read answers that are under way, then try again"), time.Second), false
	case errors.Is(err, job.ErrUnavailable):
		return retry(newProblem(http.StatusServiceUnavailable, "unavailable", "the job store does not answer; try again"), time.Second), true
	case errors.Is(err, job.ErrNoWorker): // of a runner's readiness
		return retry(newProblem(http.StatusServiceUnavailable, string(job.FailStart), err.Error()+"; it takes no jobs until one can"), 5*time.Second), false
	case errors.As(err, &schema):
		return newProblem(http.StatusServiceUnavailable, "schema_refused", schema.Error()), false
	case errors.Is(err, service.ErrStarting):
		return retry(newProblem(http.StatusServiceUnavailable, "starting", "the process is starting, or waits for Redis; try again"), time.Second), false
	case errors.Is(err, context.Canceled):
		return newProblem(statusClientClosed, "client_closed", "the caller went away"), false
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusGatewayTimeout, "timeout", "the job did not end in time, so it was cancelled"), false
	default:
		return newProblem(http.StatusInternalServerError, "internal", "internal error; it has been logged"), true
	}
}

// waitProblem words why a synchronous job was not taken in time.
func waitProblem(err error) *Problem {
	p := newProblem(http.StatusServiceUnavailable, "no_runner",
		"no runner had a free slot for the job in time, so it was cancelled; try again later or submit it to /v1/jobs")
	switch {
	case errors.Is(err, service.ErrNoRunner):
		p.Detail = "no runner takes jobs of this queue now, so the job was cancelled; try again later or submit it to /v1/jobs"
	case errors.Is(err, service.ErrPaused):
		p = newProblem(http.StatusServiceUnavailable, "queue_paused",
			"the operator has paused the queue of the job, so it was cancelled; try again later or submit it to /v1/jobs, where it waits")
	case errors.Is(err, service.ErrKeyBusy):
		p = newProblem(http.StatusTooManyRequests, "key_busy",
			"the job waited for other jobs of this API key until the time of the call was over, so it was cancelled; try again when some of them have ended, or submit it to /v1/jobs")
	}
	p.retryAfter = 5 * time.Second
	return p
}

func invalidRequest(e *job.ValidationError) *Problem {
	issues := make([]FieldIssue, len(e.Fields))
	for i, f := range e.Fields {
		issues[i] = FieldIssue{Location: "body." + f.Field, Message: f.Message}
	}
	return badRequest(describe("", issues), issues...)
}

func endProblem(e *service.EndError) *Problem {
	code := "cancelled"
	if e.Job.Failure != nil {
		code = string(e.Job.Failure.Code)
	}
	status := http.StatusServiceUnavailable
	switch {
	case e.Job.State == job.Cancelled && code != string(job.FailWaiterLost):
		status = http.StatusConflict
	case code == string(job.FailRunnerLost):
		status = http.StatusBadGateway
	case code == string(job.FailSessionEnded):
		p := endedProblem(e.Job.Failure.Reason, e.Job.Failure.Message)
		p.JobID = e.Job.ID
		return p
	case code == string(job.FailRefused), code == string(job.FailTooLarge):
		status = http.StatusConflict
	case code == string(job.FailFileExists), code == string(job.FailNotDirectory), code == string(job.FailIsDirectory), code == string(job.FailNotEmpty):
		status = http.StatusConflict
	case code == string(job.FailFileDenied):
		status = http.StatusForbidden
	case code == string(job.FailPackages), code == string(job.FailPackageBlocked), code == string(job.FailPackageWheel), code == string(job.FailPackageHash), code == string(job.FailPackagesTooLarge):
		status = http.StatusConflict
	case code == string(job.FailPackagesDisk):
		status = http.StatusInsufficientStorage
	case code == string(job.FailNoFile), code == string(job.FailNoCheckpoint), code == string(job.FailNoContext):
		status = http.StatusNotFound
	case code == string(job.FailDisk):
		status = http.StatusInsufficientStorage
	case code == string(job.FailTooManySessions), code == string(job.FailSessionMemory), code == string(job.FailSessionDisk), code == string(job.FailTooManyPaused), code == string(job.FailFilesFull), code == string(job.FailBytesFull), code == string(job.FailTooManyContexts):
		status = http.StatusTooManyRequests
	}
	p := newProblem(status, code, e.Error())
	p.JobID = e.Job.ID
	if f := e.Job.Failure; f != nil && f.Bound != nil {
		p.Used, p.Allowed = &f.Bound.Used, &f.Bound.Allowed
	}
	if code == string(job.FailFilesFull) || code == string(job.FailBytesFull) || code == string(job.FailAllFilesFull) {
		p.retryAfter = fullStorageAfter
	}
	if code == string(job.FailPackageIndex) || code == string(job.FailPackagesDisk) || code == string(job.FailPackagesLate) {
		p.retryAfter = packagesAfter
	}
	if code == string(job.FailSessionsFull) {
		p.retryAfter = 5 * time.Second
	}
	if code == string(job.FailStart) || code == string(job.FailNoRuntime) || code == string(job.FailNoNetwork) || code == string(job.FailWaiterLost) || code == string(job.FailFiles) {
		// Only then it is sure that the code has not begun: the others are for the
		// caller to decide about.
		p.retryAfter = time.Second
	}
	return p
}

// newHumaError replaces huma.NewError: it words the mistakes that huma finds in
// a request as Problems. The offending values are left out: they may be secrets,
// or megabytes.
func newHumaError(status int, msg string, errs ...error) huma.StatusError {
	return humaError(nil, status, msg, errs)
}

// humaError does that with hints for the request's fields.
func humaError(h *hints, status int, msg string, errs []error) huma.StatusError {
	var issues []FieldIssue
	for i, err := range errs {
		if err == nil {
			continue
		}
		if len(issues) == maxIssues {
			issues = append(issues, FieldIssue{Message: fmt.Sprintf("and %d more", len(errs)-i)})
			break
		}
		issues = append(issues, issueOf(h, err))
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if msg == "request body is required" {
			msg = "a request body is required; send a JSON object"
		}
		return badRequest(describe(msg, issues), issues...)
	case http.StatusUnsupportedMediaType:
		return newProblem(status, "unsupported_media_type", "send JSON with the header Content-Type: application/json")
	case http.StatusNotAcceptable:
		return newProblem(status, "not_acceptable", "only application/json can be answered")
	default:
		// Whatever huma met beyond that is ours: its text stays here.
		return newProblem(status, "internal", "internal error; it has been logged")
	}
}

// maxIssues is how many mistakes of a request are listed.
const maxIssues = 20

// issueOf words a mistake. huma's own text of one prints the value with it, which for an
// unknown field is all that is around it.
func issueOf(h *hints, err error) FieldIssue {
	var detailed huma.ErrorDetailer
	if errors.As(err, &detailed) {
		detail := detailed.ErrorDetail()
		return FieldIssue{Location: clipped(detail.Location), Message: withoutGo(h.improve(detail.Location, detail.Message))}
	}
	return FieldIssue{Message: withoutGo(err.Error())}
}

// maxOfCallers bounds how much of a caller's own text, a name or a number, comes back, in bytes.
const maxOfCallers = 256

func clipped(text string) string {
	if len(text) <= maxOfCallers {
		return text
	}
	return strings.ToValidUTF8(text[:maxOfCallers], "") + "…"
}

// withoutGo words what encoding/json says about a value that does not fit without
// the names of Go types.
func withoutGo(message string) string {
	_, what, found := strings.Cut(message, "json: cannot unmarshal ")
	if !found {
		return message
	}
	what, _, _ = strings.Cut(what, " into Go ")
	return "cannot read the " + clipped(what) + ": it is out of range or of the wrong type"
}

// describe puts the issues into one sentence, so that a caller who shows detail
// only shows what to change.
func describe(msg string, issues []FieldIssue) string {
	if len(issues) == 0 {
		return msg
	}
	parts := make([]string, 0, len(issues))
	for _, i := range issues {
		part := i.Message
		if i.Location != "" && !strings.Contains(i.Message, i.Location) {
			part = i.Location + ": " + i.Message
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func aboutToStop() *Problem {
	return newProblem(http.StatusServiceUnavailable, "draining", "the process is about to stop")
}
