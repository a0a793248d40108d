package app_test

import (
	"io"
	"net/http"
	"testing"
)

// TestLargeFiles: the default limits let 100 MB out of a session and out of a job.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const size = 100_000_000
	const code = "with open('big.csv', 'wb') as f:\n    for _ in range(100):\n        f.write(b'0123456789' * 100_000)"
	id := k.open(nil)
	k.in(id, code)
	job := k.execute(fields{"code": code})
	for _, path := range []string{
		sessionsPath + "/" + id + "/files/big.csv",
		"/v1/jobs/" + job.str("jobId") + "/files/big.csv",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if res.StatusCode != http.StatusOK || n != size || err != nil {
			t.Errorf("%s: %d, %d bytes, %v; want %d bytes", path, res.StatusCode, n, err, size)
		}
	}
}
