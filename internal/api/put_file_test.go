package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPutsThatAreNoFiles: what would be stored as another file than the caller means is refused; the
// session is looked for only after that, and is not there.
func TestPutsThatAreNoFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"a file", http.Header{"Content-Type": {"text/plain"}}, 404},
		{"a file in parts", http.Header{"Content-Type": {"multipart/mixed; boundary=b"}}, 404},
		{"a form", http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}, 415},
		{"a form in capitals", http.Header{"Content-Type": {"Multipart/Form-Data; boundary=b"}}, 415},
		{"a part of a file", http.Header{"Content-Range": {"bytes 5-9/10"}}, 400},
		{"compressed", http.Header{"Content-Encoding": {"gzip"}}, 415},
		{"compressed in a second step", http.Header{"Content-Encoding": {"identity", "gzip"}}, 415},
		{"not compressed", http.Header{"Content-Encoding": {"Identity", ""}}, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(newAPI(config(&fakeStore{})))
			defer server.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/v1/sessions/x/files/f", strings.NewReader("bytes"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tt.header
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
		})
	}
}
