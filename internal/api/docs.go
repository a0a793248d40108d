package api

import (
	"bytes"
	_ "embed"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/service"
)

//go:embed docs.html
var docsFrame string

// docsOperation is one operation as the page shows it.
type docsOperation struct {
	Method, Path, ID string
	*huma.Operation
	Request   *huma.Schema
	Responses []docsResponse
}

type docsResponse struct {
	Status string
	*huma.Response
	Schema *huma.Schema
}

// docsPage serves the API's description as one page without scripts or outside
// links, so that it works offline. It is rendered from the OpenAPI when it is first asked for: that takes longer than all
// else that an API does before it serves.
func docsPage(spec *huma.OpenAPI) gin.HandlerFunc {
	rendered := sync.OnceValue(func() []byte { return []byte(renderDocs(spec)) })
	return func(c *gin.Context) {
		c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'")
		text := bytes.Replace(rendered(), []byte(docsAddress), []byte(addressOf(c.Request)+service.CallOf(c.Request.Context()).Prefix), 1)
		c.Data(http.StatusOK, "text/html; charset=utf-8", text)
	}
}

// docsAddress is the one that the page's example has in docs.html.
const docsAddress = "http://127.0.0.1:8080"

// plainHost is a host, with a port or without, that stands in HTML as it is.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,255}$`)

// addressOf returns the address at which the reader of a page has found this API.
func addressOf(r *http.Request) string {
	if !plainHost.MatchString(r.Host) {
		return docsAddress
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func docsOperations(spec *huma.OpenAPI) []docsOperation {
	var ops []docsOperation
	for path, item := range spec.Paths {
		for method, op := range operationsOf(item) {
			d := docsOperation{Method: method, Path: path, ID: op.OperationID, Operation: op}
			if op.RequestBody != nil {
				d.Request = jsonSchema(op.RequestBody.Content)
			}
			for status, r := range op.Responses {
				d.Responses = append(d.Responses, docsResponse{status, r, jsonSchema(r.Content)})
			}
			slices.SortFunc(d.Responses, func(a, b docsResponse) int { return strings.Compare(a.Status, b.Status) })
			ops = append(ops, d)
		}
	}
	slices.SortFunc(ops, func(a, b docsOperation) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	return ops
}

func jsonSchema(content map[string]*huma.MediaType) *huma.Schema {
	if m := content["application/json"]; m != nil {
		return m.Schema
	}
	return nil
}

// docsField is a row of a schema's table.
type docsField struct {
	Name, Type, Description string
	Required                bool
	Enum                    []any
}

// fieldsOf flattens a schema, with one level of nested objects.
func fieldsOf(registry huma.Registry, s *huma.Schema) []docsField {
	var out []docsField
	var walk func(s *huma.Schema, prefix string, depth int)
	walk = func(s *huma.Schema, prefix string, depth int) {
		s = resolve(registry, s)
		if s == nil {
			return
		}
		if s.Items != nil {
			walk(s.Items, prefix+"[].", depth)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[name]
			r := resolve(registry, p)
			f := docsField{Name: prefix + name, Type: r.Type, Description: p.Description, Enum: r.Enum, Required: slices.Contains(s.Required, name)}
			if f.Description == "" {
				f.Description = r.Description
			}
			out = append(out, f)
			if depth > 0 {
				walk(p, prefix+name+".", depth-1)
			}
		}
	}
	walk(s, "", 2)
	return out
}

func resolve(registry huma.Registry, s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return registry.SchemaFromRef(s.Ref)
	}
	return s
}
