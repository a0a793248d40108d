package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestChangesWithConditions: a change of a file that depends on its state is refused, not made. Downloads
// have conditions, and so has no other call.
func TestChangesWithConditions(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newAPI(config(&fakeStore{})))
	t.Cleanup(server.Close)
	const (
		inSession = "/v1/sessions/x/files/f"
		ofJob     = "/v1/jobs/x/files/f"
	)
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		refused            string
	}{
		{"replace if it is that", http.MethodPut, inSession, http.Header{"If-Match": {`"a"`}}, "header.If-Match"},
		{"replace any", http.MethodPut, inSession, http.Header{"If-Match": {"*"}}, "header.If-Match"},
		{"a second value", http.MethodPut, inSession, http.Header{"If-Match": {"", `"a"`}}, "header.If-Match"},
		{"an empty value", http.MethodPut, inSession, http.Header{"If-Match": {""}}, "header.If-Match"},
		{"make if there is none", http.MethodPut, inSession, http.Header{"If-None-Match": {"*"}}, "header.If-None-Match"},
		{"replace if it is old", http.MethodPut, inSession, http.Header{"If-Unmodified-Since": {"Sun, 06 Nov 1994 08:49:37 GMT"}}, "header.If-Unmodified-Since"},
		{"delete if it is that", http.MethodDelete, inSession, http.Header{"If-Match": {`"a"`}}, "header.If-Match"},
		{"a form", http.MethodPost, "/v1/sessions/x/files", http.Header{"If-None-Match": {"*"}}, "header.If-None-Match"},
		{"a job's", http.MethodDelete, ofJob, http.Header{"If-Match": {`"a"`}}, "header.If-Match"},
		{"no condition", http.MethodPut, inSession, http.Header{}, ""},
		{"a download", http.MethodGet, inSession, http.Header{"If-Match": {`"a"`}}, ""},
		{"a job's download", http.MethodGet, ofJob, http.Header{"If-None-Match": {`"a"`}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.path, strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tt.header
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if tt.refused == "" && res.StatusCode == http.StatusBadRequest {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if tt.refused != "" && (res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), tt.refused)) {
				t.Errorf("%d %s, want 400 for %s", res.StatusCode, body, tt.refused)
			}
		})
	}
}

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
