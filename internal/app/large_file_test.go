package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestLargeFiles: the default limits let 100 MB into a session, and out of it and of a job.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const size = 100_000_000
	const code = "with open('big.csv', 'wb') as f:\n    for _ in range(100):\n        f.write(b'0123456789' * 100_000)"
	job := k.execute(fields{"code": code})
	id := k.open(nil)
	file := sessionsPath + "/" + id + "/files/big.csv"
	sum := sha256.New()
	put := k.send(file, io.TeeReader(noise(size), sum), -1) // in chunks
	if put.status != http.StatusOK || put.str("size") != "1e+08" || put.str("path") != "big.csv" {
		t.Fatalf("put: %d %s", put.status, put.raw)
	}
	want := hex.EncodeToString(sum.Sum(nil))
	if got := k.in(id, "import hashlib\nprint(hashlib.sha256(open('big.csv', 'rb').read()).hexdigest())"); got != want+"\n" {
		t.Errorf("in the session: sha256 %q, want %q", got, want)
	}
	for path, want := range map[string]string{file: want, "/v1/jobs/" + job.str("jobId") + "/files/big.csv": ""} {
		if n, sum := k.sumOf(path); n != size || want != "" && sum != want {
			t.Errorf("%s: %d bytes, sha256 %s; want %d bytes, %s", path, n, sum, size, want)
		}
	}
	testenv.Eventually(t, "only the file of the job is kept", func() bool { return len(blobsIn(t, k.blobs())) == 1 })
}

// TestUploadsThatFail: a file is put there as a whole or not at all, and nothing of the others
// is kept anywhere.
func TestUploadsThatFail(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"strict", "basic"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			const most, disk = 4 << 20, 1 << 20
			k := start(t, 1, "KAA_SANDBOX="+level, fmt.Sprint("KAA_MAX_FILE_UPLOAD_BYTES=", most))
			id := k.open(fields{"limits": fields{"diskBytes": disk}})
			files := sessionsPath + "/" + id + "/files/"
			if a := k.call("PUT", files+"f", "old", raw); a.status != http.StatusOK {
				t.Fatalf("put: %d %s", a.status, a.raw)
			}
			gone := errors.New("the client has gone")
			for name, tt := range map[string]struct {
				body   io.Reader
				length int64
				code   string // empty if there is no answer
			}{
				"broken, of known length":    {io.MultiReader(noise(disk/2), failingReader{gone}), disk, ""},
				"broken, in chunks":          {io.MultiReader(noise(disk/2), failingReader{gone}), -1, ""},
				"too large, of known length": {noise(most + 1), most + 1, "413 body_too_large"},
				"too large, in chunks":       {noise(most + 1), -1, "413 body_too_large"},
				"no room, of known length":   {noise(2 * disk), 2 * disk, "507 disk_full"},
				"no room, in chunks":         {noise(2 * disk), -1, "507 disk_full"},
			} {
				a := k.send(files+"f", tt.body, tt.length)
				if got := fmt.Sprint(a.status, " ", a.str("code")); a.status != 0 && got != tt.code || a.status == 0 && tt.code != "" {
					t.Errorf("%s: %d %s, want %q", name, a.status, a.raw, tt.code)
				}
			}
			if out := k.in(id, "import os\nprint(os.listdir(), open('f').read())"); out != "['f'] old\n" {
				t.Errorf("the session has %q", out)
			}
			k.call("DELETE", sessionsPath+"/"+id, nil)
			if a := k.send(files+"f", noise(most), most); a.str("code") != "session_ended" {
				t.Errorf("into a session that has ended: %d %s", a.status, a.raw)
			}
			testenv.Eventually(t, "no blob is left", func() bool { return len(blobsIn(t, k.blobs())) == 0 })
		})
	}
}

// send puts a file; without an answer the status is 0.
func (k *kaa) send(path string, body io.Reader, length int64) answer {
	k.tb.Helper()
	req, err := http.NewRequestWithContext(k.tb.Context(), http.MethodPut, k.url+path, io.NopCloser(body))
	if err != nil {
		k.tb.Fatal(err)
	}
	req.ContentLength = length
	a, _ := k.read(req)
	return a
}

// sumOf fetches a file and returns its size and sum.
func (k *kaa) sumOf(path string) (n int64, sum string) {
	k.tb.Helper()
	req, err := http.NewRequestWithContext(k.tb.Context(), http.MethodGet, k.url+path, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		k.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	hash := sha256.New()
	n, err = io.Copy(hash, res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		k.tb.Errorf("%s: %d, %v", path, res.StatusCode, err)
	}
	return n, hex.EncodeToString(hash.Sum(nil))
}

// noise is content of that size, the same each time.
func noise(size int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), size) }

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
