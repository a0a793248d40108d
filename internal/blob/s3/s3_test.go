package s3_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/blob/s3"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestCredentials: they come from where AWS's own tools find them, and an operator who gave
// none is told what to set.
func TestCredentials(t *testing.T) {
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"AccessKeyId": "`+testenv.S3User+`", "SecretAccessKey": "s", "Token": "t", "Expiration": "`+
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`)
	}))
	defer role.Close()
	tests := map[string]struct {
		environ map[string]string
		wrong   string
	}{
		"environment": {map[string]string{"AWS_ACCESS_KEY_ID": testenv.S3User, "AWS_SECRET_ACCESS_KEY": "s"}, ""},
		"role":        {map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": role.URL}, ""},
		"none":        {map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1"}, "set AWS_ACCESS_KEY_ID"},
		"others":      {map[string]string{"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": "s"}, "refuses these credentials"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, unset := range []string{
				"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
				"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
			} {
				t.Setenv(unset, "")
			}
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
			for name, value := range tt.environ {
				t.Setenv(name, value)
			}
			place, err := url.Parse(testenv.NewS3(t, "kaa-files").URL())
			if err != nil {
				t.Fatal(err)
			}
			bucket, err := s3.Open(t.Context(), place)
			if err == nil {
				err = bucket.Put(t.Context(), "ab/a.1.0", strings.NewReader("x"))
				if err := bucket.Close(); err != nil {
					t.Error(err)
				}
			}
			if got := err == nil; got != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%v, want %q", err, tt.wrong)
			}
		})
	}
}
