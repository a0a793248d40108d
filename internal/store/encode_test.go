package store

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

func encodedByPackage(t *testing.T, r *job.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// FuzzEncodeResult: it is what package json makes of it.
func FuzzEncodeResult(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00\x1f\b\f\n\r\t\"\\/<>&\x7f", "ü€😀\u2028\u2029\ufffd", "\xff\xe2\x80", `"stderr":"`, strings.Repeat("\x00", 1000)} {
		f.Add(s, s)
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, stdout, stderr string) {
		r := &job.Result{Status: job.StatusOK, Stdout: stdout, Stderr: stderr, SessionID: `"stdout":"`, Error: &job.Error{Value: "<x>"}}
		got, err := encodeResult(r)
		if err != nil {
			t.Fatal(err)
		}
		if want := encodedByPackage(t, r); !bytes.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if cap(got) > len(got)+64 {
			t.Errorf("%d bytes in %d", len(got), cap(got))
		}
	})
}

// TestEncodeResultAllocates: large output is written once.
//
//nolint:paralleltest // it counts what the process allocates
func TestEncodeResultAllocates(t *testing.T) {
	r := &job.Result{Stdout: strings.Repeat("\x00", 1<<20), Stderr: strings.Repeat("a", 1<<20)}
	size := len(encodedByPackage(t, r))
	got := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		for b.Loop() {
			if _, err := encodeResult(r); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if got > int64(size)*5/4 {
		t.Errorf("%d bytes are allocated for %d", got, size)
	}
}
