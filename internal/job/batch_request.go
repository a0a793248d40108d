package job

import (
	"time"
	"unicode/utf8"
)

// maxBatchName is the largest length of the name of a batch, in characters.
const maxBatchName = 200

// minArchiveTTL is the shortest life of a batch with an archive, which is written after the end.
const minArchiveTTL = time.Minute

// AcceptBatch checks what a request says of a batch as a whole, and returns for how long its record outlives its end, and its
// webhook.
func (l Limits) AcceptBatch(name string, resultTTL *float64, hook *BatchHookRequest, archive bool) (ttl time.Duration, h BatchHook, err error) {
	var v validation
	if utf8.RuneCountInString(name) > maxBatchName {
		v.add("name", "is longer than %d characters", maxBatchName)
	}
	ttl = v.seconds("resultTtl", resultTTL, time.Second, l.MaxResultTTL, l.DefaultResultTTL)
	if archive && ttl < minArchiveTTL && len(v.fields) == 0 {
		v.add("resultTtl", "must be at least %d with archive: the archive lives as long as the record of the batch", int(minArchiveTTL.Seconds()))
	}
	if hook != nil {
		h.URL = l.webhook(&v, &hook.WebhookRequest).URL
		if p := hook.Percent; p != nil {
			if h.Percent = *p; *p < 1 || *p > 100 {
				v.add("webhook.percent", "must be from 1 to 100; leave it out for one message at the end")
			}
		}
	}
	if len(v.fields) > 0 {
		return 0, BatchHook{}, &ValidationError{Fields: v.fields}
	}
	return ttl, h, nil
}

// CheckBatchItem refuses what a job of a batch cannot have.
func CheckBatchItem(r Request) error {
	var v validation
	if r.SessionID != "" {
		v.add("sessionId", "is not for jobs of a batch; a session executes in order: send such jobs to /v1/jobs")
	}
	if r.Delay != nil {
		v.add("delay", "is not for jobs of a batch; send such jobs to /v1/jobs")
	}
	if r.RunAt != nil {
		v.add("runAt", "is not for jobs of a batch; send such jobs to /v1/jobs")
	}
	if r.After != "" {
		v.add("after", "is not for jobs of a batch; send such jobs to /v1/jobs")
	}
	if len(r.Files) > 0 {
		v.add("files", "is not for jobs of a batch; put the data into the code, stdin or envs, or send such jobs to /v1/jobs")
	}
	if len(v.fields) > 0 {
		return &ValidationError{Fields: v.fields}
	}
	return nil
}
