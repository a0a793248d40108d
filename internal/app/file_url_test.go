package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestFilesOfResultsHaveAddresses: the result of an execution, a job and a line of a batch say where their files are.
func TestFilesOfResultsHaveAddresses(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const code = "import os; os.mkdir('a b'); open('a b/ü?#%.txt', 'w').write('content')"
	first := func(where string, result any) string {
		t.Helper()
		shown, _ := result.(map[string]any)
		files, _ := shown["files"].([]any)
		if len(files) != 1 {
			t.Fatalf("%s: %v", where, result)
		}
		url, _ := files[0].(map[string]any)["url"].(string)
		if a := k.call(http.MethodGet, url, nil); !strings.HasPrefix(url, "/v1/jobs/") || a.status != http.StatusOK || a.raw != "content" {
			t.Errorf("%s: %q: %d %s", where, url, a.status, a.raw)
		}
		return url
	}
	executed := k.execute(fields{"code": code})
	url := first("an execution", executed.body)
	job := k.call(http.MethodGet, "/v1/jobs/"+executed.str("jobId"), nil)
	if again := first("its job", job.body["result"]); again != url {
		t.Errorf("its job: %s, and in the answer %s", again, url)
	}
	batch := k.call(http.MethodPost, "/v1/batches", `{"code": "open('x', 'w').write('content')"}`, "Content-Type: application/x-ndjson")
	if batch.status >= 300 {
		t.Fatalf("a batch: %d %s", batch.status, batch.raw)
	}
	lines := k.call(http.MethodGet, "/v1/batches/"+batch.str("id")+"/results?follow=true", nil)
	if !strings.Contains(lines.raw, `"url":"/v1/jobs/`) {
		t.Errorf("a line of a batch: %s", lines.raw)
	}
}
