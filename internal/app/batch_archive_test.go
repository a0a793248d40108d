package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// awaitArchive waits until the archive of a batch is written.
func (k *kaa) awaitArchive(id string) answer {
	k.tb.Helper()
	var a answer
	testenv.Eventually(k.tb, "the archive is written", func() bool {
		a = k.call(http.MethodGet, batchesPath+"/"+id, nil)
		return a.str("archive.state") == "written"
	})
	return a
}

// archive returns the lines of the archive of a batch.
func (k *kaa) archive(id string) []map[string]any {
	k.tb.Helper()
	a := k.call(http.MethodGet, batchesPath+"/"+id+"/archive", nil)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/gzip" {
		k.tb.Fatalf("archive: %d %v", a.status, a.header)
	}
	return linesOf(k.tb, strings.NewReader(a.raw))
}

func linesOf(tb testing.TB, packed io.Reader) []map[string]any {
	tb.Helper()
	r, err := gzip.NewReader(packed)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	var all []map[string]any
	for line := range bytes.Lines(text) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// blobsOf are the files of the blob store that belong to an id.
func (k *kaa) blobsOf(id string) []string {
	k.tb.Helper()
	var all []string
	root := strings.TrimPrefix(k.environ.Get("KAA_BLOB_URL"), "file://")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), id) {
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		k.tb.Fatal(err)
	}
	return all
}

// TestBatchArchive: the archive of a batch has what its results have, also later than the results of its jobs, and goes with the batch.
func TestBatchArchive(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t))
	k.periods.Sweep = 100 * time.Millisecond
	k.startAll(1)
	large := fields{"code": "print('x' * 100_000)"}
	lines := ndjson(t, fields{"batch": fields{"archive": true, "badLines": "skip"}}, fields{"code": "print(1)"}, fields{"code": 1}, large, fields{"code": "1/0"})
	id := k.batch("", lines).str("id")
	a := k.awaitArchive(id)
	if a.str("archive.results") != "4" || a.str("archive.expired") != "" || a.str("archive.bytes") == "" {
		t.Errorf("archive: %s", a.raw)
	}
	var want []map[string]any
	for line := range strings.Lines(k.call(http.MethodGet, batchesPath+"/"+id+"/results", nil).raw) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		delete(v, "cursor")
		want = append(want, v)
	}
	if diff := cmp.Diff(want[:len(want)-1], k.archive(id)); diff != "" {
		t.Errorf("archive (-results +archive):\n%s", diff)
	}
	if part := k.call(http.MethodGet, batchesPath+"/"+id+"/archive", nil, "Range: bytes=0-1"); part.status != http.StatusPartialContent || part.raw != "\x1f\x8b" {
		t.Errorf("its first bytes: %d %q", part.status, part.raw)
	}
	for index := range 4 {
		k.call(http.MethodDelete, fmt.Sprintf("/v1/jobs/%s%06x/record", id[:30], index+1), nil)
	}
	if got := k.archive(id); len(got) != 4 || got[0]["result"] == nil {
		t.Errorf("after the deletion of the jobs: %v", got)
	}
	if a := k.call(http.MethodGet, "/v1/usage", nil); a.str("present.storedFileBytes.used") == "0" {
		t.Errorf("it does not count: %s", a.raw)
	}
	// A cleaner of an older Kaa, to which it belongs to no job, does not look there.
	if of := k.blobsOf(id); len(of) != 1 || !strings.Contains(of[0], "/batches/") {
		t.Errorf("blobs: %v", of)
	}
	k.call(http.MethodDelete, batchesPath+"/"+id+"/record", nil)
	testenv.Eventually(t, "the archive is deleted with the batch", func() bool {
		return len(k.blobsOf(id)) == 0 && k.call(http.MethodGet, "/v1/usage", nil).str("present.storedFileBytes.used") == "0"
	})

	plain := k.batch("", ndjson(t, fields{"code": "1"})).str("id")
	k.awaitBatch(plain, "completed")
	waiting := k.cutBatch("?archive=true", ndjson(t, fields{"code": "1"}))
	for what, c := range map[string]struct {
		answer answer
		status int
		words  string
	}{
		"deleted":     {k.call(http.MethodGet, batchesPath+"/"+id+"/archive", nil), http.StatusNotFound, "not_found"},
		"without":     {k.call(http.MethodGet, batchesPath+"/"+plain+"/archive", nil), http.StatusNotFound, "no_archive"},
		"not ended":   {k.call(http.MethodGet, batchesPath+"/"+waiting+"/archive", nil), http.StatusConflict, "archive_waits"},
		"short lived": {k.call(http.MethodPost, batchesPath, ndjson(t, fields{"batch": fields{"archive": true, "resultTtl": 10}}, fields{"code": "1"})), http.StatusBadRequest, "at least 60 with archive"},
		"no boolean":  {k.call(http.MethodPost, batchesPath, ndjson(t, fields{"batch": fields{"archive": "yes"}}, fields{"code": "1"})), http.StatusBadRequest, "archive"},
	} {
		if c.answer.status != c.status || !strings.Contains(c.answer.raw, c.words) {
			t.Errorf("%s: %d %s", what, c.answer.status, c.answer.raw)
		}
	}
}

// TestArchiveWithoutRoom: an archive that finds no room says so in the batch, and is written once there is room.
func TestArchiveWithoutRoom(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_STORED_FILE_BYTES=65536")
	rdb := k.redis.Client(t)
	rdb.HSet(t.Context(), "{kaa}:files", "anonymous", 65000, "*", 65000)
	id := k.batch("?archive=true", ndjson(t, fields{"code": "1"})).str("id")
	testenv.Eventually(t, "the batch says that there is no room", func() bool {
		return strings.Contains(k.call(http.MethodGet, batchesPath+"/"+id, nil).str("archive.error"), "no room for it in the blob store: 65000 bytes")
	})
	rdb.Del(t.Context(), "{kaa}:files")
	rdb.ZAddXX(t.Context(), "{kaa}:batches:archives", redis.Z{Member: id})
	rdb.Publish(t.Context(), "{kaa}:outbox", "archives")
	if a := k.awaitArchive(id); a.str("archive.error") != "" || len(k.archive(id)) != 1 {
		t.Errorf("%s", a.raw)
	}
	k.expectMetrics(t, k.url, `kaa_batch_archive_duration_seconds_count{outcome="written"} 1`, `kaa_batch_archive_duration_seconds_count{outcome="retry"} `, `kaa_batch_archive_bytes_total `)
	if text := k.call(http.MethodGet, "/metrics", nil).raw; strings.Contains(text, `kaa_batch_archive_duration_seconds_count{outcome="retry"} 0`) || strings.Contains(text, "kaa_batch_archive_bytes_total 0\n") {
		t.Error("metrics do not count the attempt that had no room, or the bytes")
	}
}

// TestArchiveWhenTheAPIDies: an API process is killed while it writes an archive. Another one writes all of it, and nothing is left of the first attempt.
func TestArchiveWhenTheAPIDies(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_OUTPUT_BYTES=4194304")
	api := k.spawnAPI()
	k.run(app.RunRunner)
	const jobs = 12
	lines := ndjson(t, fields{"batch": fields{"archive": true, "defaults": fields{"code": "import os\nprint(os.urandom(2_000_000).hex())"}}}) + strings.Repeat("{}\n", jobs)
	half := ""
	for id := k.batch("", lines).str("id"); half == ""; id = k.batch("", lines).str("id") {
		for half == "" && k.call(http.MethodGet, batchesPath+"/"+id, nil).str("archive.state") != "written" {
			for _, path := range k.blobsOf(id) {
				if info, err := os.Stat(path); err == nil && strings.HasSuffix(path, ".tmp") && info.Size() > 0 {
					half = id
				}
			}
		}
		if half != "" {
			if err := api.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = api.Wait()
			break
		}
	}
	if left := k.blobsOf(half); len(left) != 1 || !strings.HasSuffix(left[0], ".tmp") {
		t.Fatalf("it was killed too late: %v", left)
	}
	rdb := k.redis.Client(t)
	rdb.ZAddXX(t.Context(), "{kaa}:batches:archives", redis.Z{Member: half}) // the lease is over
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.awaitArchive(half)
	if got := k.archive(half); len(got) != jobs {
		t.Errorf("%d lines", len(got))
	}
	if left := k.blobsOf(half); len(left) != 1 || strings.HasSuffix(left[0], ".tmp") {
		t.Errorf("blobs: %v", left)
	}
}
