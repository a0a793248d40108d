package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
)

// adapter puts huma's operations on a gin engine. It is humagin's, except that a
// colon in a path (/v1/jobs:batch) stays a colon: to gin it begins a parameter; and that
// {path} is all that follows, with slashes.
type adapter struct {
	http.Handler
	engine *gin.Engine
}

func (a *adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	a.engine.Handle(op.Method, routeOf(op.Path), func(c *gin.Context) { handler(humagin.NewContext(op, c)) })
}

// routeOf returns gin's form of a path.
func routeOf(path string) string {
	return strings.NewReplacer("{path}", "*path", ":", `\:`, "{", ":", "}", "").Replace(path)
}
