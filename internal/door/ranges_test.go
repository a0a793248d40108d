package door

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

// TestManyRanges: who asks for very many parts of a file gets all of it.
func TestManyRanges(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	content := strings.Repeat("x", 10_000)
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
	h := New(Config{
		Service: service.New(service.Config{Hub: service.NewHub("test")}), Observer: new(counts), Log: slog.New(slog.DiscardHandler),
		Background: new(sync.WaitGroup),
	}).Handle(spoken{mux})
	for n, status := range map[int]int{1: 206, mostRanges: 206, mostRanges + 1: 200, 4000: 200} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/file", nil)
		req.Header.Set("Range", "bytes=1-1"+strings.Repeat(",1-1", n-1))
		res := httptest.NewRecorder()
		h.ServeHTTP(res, req)
		if res.Code != status || status == http.StatusOK && res.Body.Len() != len(content) {
			t.Errorf("%d ranges: %d, %d bytes", n, res.Code, res.Body.Len())
		}
	}
}
