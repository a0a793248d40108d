package api

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// input is how a request becomes the struct that an operation takes: a field for each
// parameter, with a tag path, query or header, and Body for the value in the body.
type input struct {
	params  []parameter
	queries []string // the names of those in the query
	body    []int    // where Body is; nil for none
	schema  *huma.Schema
}

// parameter is one value of a request beside its body.
type parameter struct {
	field    []int
	in, name string
	explode  bool // one comes as often as it has values
	required bool
	fallback string
	schema   *huma.Schema
}

// inputOf documents what an operation takes, and plans how it is read.
func inputOf(op *huma.Operation, schemas huma.Registry, t reflect.Type) *input {
	in := new(input)
	for _, field := range reflect.VisibleFields(t) {
		if field.Name == "Body" {
			in.body, in.schema = field.Index, documentBody(op, schemas, t, field)
			continue
		}
		p, is := parameterOf(schemas, field)
		if !is {
			continue
		}
		in.params = append(in.params, p)
		if p.in == "query" {
			in.queries = append(in.queries, p.name)
		}
		if field.Tag.Get("hidden") != "true" {
			p.document(op)
		}
	}
	return in
}

func documentBody(op *huma.Operation, schemas huma.Registry, t reflect.Type, field reflect.StructField) *huma.Schema {
	schema := huma.SchemaFromField(schemas, field, hint(t, op.OperationID+"Request"))
	schema.PrecomputeMessages()
	op.RequestBody = &huma.RequestBody{
		Required: field.Type.Kind() != reflect.Pointer,
		Content:  map[string]*huma.MediaType{"application/json": {Schema: schema}},
	}
	return schema
}

// hint names the schema of a Body whose type has no name.
func hint(t reflect.Type, other string) string {
	if t.Name() != "" {
		return t.Name() + "Body"
	}
	return other
}

func parameterOf(schemas huma.Registry, field reflect.StructField) (p parameter, is bool) {
	for _, in := range []string{"path", "query", "header"} {
		tag, found := field.Tag.Lookup(in)
		if !found {
			continue
		}
		name, how, _ := strings.Cut(tag, ",")
		p = parameter{
			field: field.Index, in: in, name: name, explode: how == "explode",
			required: in == "path" || field.Tag.Get("required") == "true",
			fallback: field.Tag.Get("default"),
			schema:   huma.SchemaFromField(schemas, field, ""),
		}
		return p, true
	}
	return p, false
}

// document adds the parameter to those that the operation has already.
func (p *parameter) document(op *huma.Operation) {
	if slices.ContainsFunc(op.Parameters, func(other *huma.Param) bool { return other.Name == p.name && other.In == p.in }) {
		return
	}
	documented := &huma.Param{Name: p.name, Description: p.schema.Description, In: p.in, Required: p.required, Schema: p.schema}
	if p.in == "query" {
		documented.Explode = &p.explode
	}
	op.Parameters = append(op.Parameters, documented)
}

// reading is one request that becomes an input, and its mistakes.
type reading struct {
	api     huma.API
	ctx     huma.Context
	into    reflect.Value
	path    *huma.PathBuffer
	found   huma.ValidateResult
	status  int    // of the answer, if something is wrong
	message string // is empty unless there is no more to say than this
}

// read fills in the struct of a call. If the request is wrong, it answers and returns false.
func (in *input) read(api huma.API, ctx huma.Context, into reflect.Value) bool {
	r := &reading{api: api, ctx: ctx, into: into, path: huma.NewPathBuffer(make([]byte, 0, 128), 0), status: http.StatusUnprocessableEntity}
	if in.unknownQueries(r); len(r.found.Errors) == 0 {
		for i := range in.params {
			in.params[i].read(r)
		}
		if in.body != nil {
			in.readBody(r)
		}
	}
	if len(r.found.Errors) == 0 && r.message == "" {
		return true
	}
	_ = huma.WriteErr(api, ctx, r.status, cmp.Or(r.message, "validation failed"), r.found.Errors...)
	return false
}

// at is where in the request something is that is wrong.
func (r *reading) at(in ...string) *huma.PathBuffer {
	r.path.Reset()
	for _, part := range in {
		r.path.Push(part)
	}
	return r.path
}

func (r *reading) validate(schema *huma.Schema, value any) {
	huma.Validate(r.api.OpenAPI().Components.Schemas, schema, r.path, huma.ModeWriteToServer, value, &r.found)
}

func (in *input) unknownQueries(r *reading) {
	url := r.ctx.URL()
	for name := range url.Query() {
		if !slices.Contains(in.queries, name) {
			r.found.Add(r.at("query", name), "", "unknown query parameter")
		}
	}
}

func (p *parameter) read(r *reading) {
	var text string
	switch p.in {
	case "path":
		text = r.ctx.Param(p.name)
	case "query":
		text = r.ctx.Query(p.name)
	case "header":
		text = r.ctx.Header(p.name)
	}
	if text == "" {
		text = p.fallback
	}
	if text == "" {
		if p.required {
			r.found.Add(r.at(p.in, p.name), "", "required "+p.in+" parameter is missing")
		}
		return
	}
	value, err := p.set(r, text)
	if err != nil {
		r.found.Add(r.at(p.in, p.name), text, err.Error())
		return
	}
	r.at(p.in, p.name)
	r.validate(p.schema, value)
}

// set gives the field of a parameter its value, and returns it as validation wants it.
func (p *parameter) set(r *reading, text string) (value any, err error) {
	field := r.into.FieldByIndex(p.field)
	if field.Type() == reflect.TypeFor[time.Time]() {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, errors.New("invalid date/time for format " + time.RFC3339Nano)
		}
		field.Set(reflect.ValueOf(t))
		return text, nil
	}
	switch {
	case field.Kind() == reflect.String:
		field.SetString(text)
		return text, nil
	case field.CanInt():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("invalid integer")
		}
		field.SetInt(n)
		return n, nil
	case field.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("invalid boolean")
		}
		field.SetBool(b)
		return b, nil
	default: // a list of texts
		texts := strings.Split(text, ",")
		if p.explode {
			url := r.ctx.URL()
			texts = url.Query()[p.name]
		}
		field.Set(reflect.MakeSlice(field.Type(), len(texts), len(texts)))
		for i, text := range texts {
			field.Index(i).SetString(text)
		}
		return texts, nil
	}
}

// readBody reads, validates and decodes the body, which a middleware has read already, with a bound and a deadline.
func (in *input) readBody(r *reading) {
	_ = r.ctx.SetReadDeadline(time.Time{})
	var body bytes.Buffer
	if reader := r.ctx.BodyReader(); reader != nil {
		if _, err := body.ReadFrom(reader); err != nil {
			r.status, r.message = http.StatusInternalServerError, "cannot read request body"
			return
		}
	}
	op := r.ctx.Operation()
	if body.Len() == 0 {
		if op.RequestBody.Required {
			r.status, r.message = http.StatusBadRequest, "request body is required"
		}
		return
	}
	kind := cmp.Or(r.ctx.Header("Content-Type"), "application/json")
	if !op.SkipValidateBody {
		var parsed any
		if err := r.api.Unmarshal(kind, body.Bytes(), &parsed); err != nil {
			r.status = http.StatusBadRequest
			if errors.Is(err, huma.ErrUnknownContentType) {
				r.status = http.StatusUnsupportedMediaType
			}
			r.found.Add(r.at("body"), nil, err.Error())
			return
		}
		r.at("body")
		r.validate(in.schema, parsed)
	}
	if len(r.found.Errors) > 0 {
		return
	}
	if err := r.api.Unmarshal(kind, body.Bytes(), r.into.FieldByIndex(in.body).Addr().Interface()); err != nil {
		r.found.Add(r.at("body"), nil, err.Error())
	}
}
