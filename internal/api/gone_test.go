package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// gone is a caller who goes away after so many looks at whether it is there.
type gone struct {
	context.Context
	after int
}

func (g *gone) Err() error {
	if g.after--; g.after < 0 {
		return context.Canceled
	}
	return nil
}

// TestWorkStopsWithoutCallers: what a caller sends who has gone is not worked on any further, at whatever
// point that is, and nothing is recorded of it.
func TestWorkStopsWithoutCallers(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{
		"/v1/jobs": `{"code":"1"}`, "/v1/jobs:batch": `{"jobs":[` + strings.Repeat(`{"code":"1"},`, 99) + `{"code":"1"}]}`,
	} {
		for _, after := range []int{0, 1} {
			store := &fakeStore{}
			cfg := config(store)
			cfg.MaxBodyBytes = 10_000
			ctx := &gone{t.Context(), after}
			req := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			res := httptest.NewRecorder()
			newAPI(cfg).ServeHTTP(res, req)
			if res.Code != 499 || len(store.created) > 0 {
				t.Errorf("%s, gone after %d looks: %d %s, %d were recorded", path, after, res.Code, res.Body, len(store.created))
			}
			if looks := after - ctx.after; looks > after+5 {
				t.Errorf("%s, gone after %d looks: it went on for %d more", path, after, looks-after)
			}
		}
	}
}
