package api

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/service"
)

// adapter puts huma's operations on a gin engine. It is humagin's, except that a
// colon in a path (/v1/jobs:batch) stays a colon: to gin it begins a parameter; and that
// {path} is all that follows, with slashes.
type adapter struct {
	http.Handler
	engine *gin.Engine
}

func (a *adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	a.engine.Handle(op.Method, routeOf(op.Path), func(c *gin.Context) { handler(wholeQuery{humagin.NewContext(op, c)}) })
}

// wholeQuery reads whole numbers of queries however they are written: 2, 2.0 and 2e0 are one in JSON,
// and so for those who make calls from the OpenAPI document.
type wholeQuery struct{ humaContext }

// humaContext is embedded under this name because one of its methods is called Context.
type humaContext huma.Context

// Unwrap is for humagin.Unwrap.
func (q wholeQuery) Unwrap() huma.Context { return q.humaContext }

// Query returns a parameter.
func (q wholeQuery) Query(name string) string {
	text := q.humaContext.Query(name)
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	for _, p := range q.Operation().Parameters {
		if p.In != "query" || p.Name != name || p.Schema.Type != huma.TypeInteger {
			continue
		}
		const exact = 1 << 53 // beyond it a float64 skips numbers
		if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < exact {
			return strconv.FormatInt(int64(f), 10)
		}
	}
	return text
}

// SetHeader completes the path of a Location: callers may reach the API below a base path.
func (q wholeQuery) SetHeader(name, value string) {
	if name == "Location" {
		value = below(q.Context(), value)
	}
	q.humaContext.SetHeader(name, value)
}

// below returns a path of the API as callers reach it.
func below(ctx context.Context, path string) string { return service.CallOf(ctx).Prefix + path }

// routeOf returns gin's form of a path.
func routeOf(path string) string {
	return strings.NewReplacer("{path}", "*path", ":", `\:`, "{", ":", "}", "").Replace(path)
}
