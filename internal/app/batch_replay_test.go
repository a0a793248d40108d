package app_test

import (
	"net/http"
	"testing"
)

// TestBatchReplayedAfterItsEnd: a client that did not get the answer sends the batch again, however late.
func TestBatchReplayedAfterItsEnd(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.batch("", `{"code":"1"}`, "Idempotency-Key: late").str("id")
	k.awaitBatch(id, "completed")
	if a := k.batch("", `{"code":"1"}`, "Idempotency-Key: late"); a.str("id") != id || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("after the end: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, batchesPath, `{"code":"2"}`, "Content-Type: application/x-ndjson", "Idempotency-Key: late"); a.str("code") != "idempotency_mismatch" {
		t.Errorf("other lines: %d %s", a.status, a.raw)
	}
}
