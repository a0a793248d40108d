package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
)

// TestConsoleSwitch: KAA_CONSOLE decides whether there is a console.
func TestConsoleSwitch(t *testing.T) {
	t.Parallel()
	off, err := (&shared{cfg: config.Config{}}).console()
	if err != nil || off != nil {
		t.Errorf("switched off: %v, %v", off, err)
	}
	on, err := (&shared{cfg: config.Config{Console: true}}).console()
	if err != nil {
		t.Fatal(err)
	}
	res := httptest.NewRecorder()
	on.ServeHTTP(res, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if res.Code != http.StatusOK || res.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("switched on: %d, %v", res.Code, res.Header())
	}
}
