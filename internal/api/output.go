package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// output is how the struct that an operation returns becomes an answer: its Status, if it has one,
// a header for each other field, and Body: a value, or a function that writes it.
type output struct {
	status, body int // where these fields are; -1 for none
	headers      []header
}

type header struct {
	field int
	name  string
}

// outputOf documents what an operation answers, and plans how it is written.
func outputOf(op *huma.Operation, schemas huma.Registry, t reflect.Type) *output {
	out := &output{status: -1, body: -1}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusNoContent
		if _, has := t.FieldByName("Body"); has {
			op.DefaultStatus = http.StatusOK
		}
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	status := strconv.Itoa(op.DefaultStatus)
	if op.Responses[status] == nil {
		op.Responses[status] = &huma.Response{}
	}
	response := op.Responses[status]
	for i := range t.NumField() {
		switch field := t.Field(i); field.Name {
		case "Status":
			out.status = i
		case "Body":
			out.body = i
			if field.Type.Kind() != reflect.Func {
				documentAnswer(response, huma.SchemaFromField(schemas, field, hint(t, op.OperationID+"Response")))
			}
		default:
			name := field.Tag.Get("header")
			out.headers = append(out.headers, header{i, name})
			if response.Headers == nil {
				response.Headers = map[string]*huma.Param{}
			}
			response.Headers[name] = &huma.Header{Schema: huma.SchemaFromField(schemas, field, "")}
		}
	}
	if response.Description == "" {
		response.Description = http.StatusText(op.DefaultStatus)
	}
	return out
}

// documentAnswer adds the schema of an answer's body, unless the operation says itself what its body is.
func documentAnswer(response *huma.Response, schema *huma.Schema) {
	if len(response.Content) == 0 {
		response.Content = map[string]*huma.MediaType{"application/json": {}}
	}
	if media := response.Content["application/json"]; media != nil && media.Schema == nil {
		media.Schema = schema
	}
}

// documentErrors adds the problems that the operation may answer.
func documentErrors(op *huma.Operation, schemas huma.Registry) {
	schema := schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	for _, status := range append(op.Errors, http.StatusInternalServerError) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{new(Problem).ContentType(""): {Schema: schema}},
		}
	}
}

// write answers with the output of an operation, to which returned points.
func (out *output) write(api huma.API, ctx huma.Context, returned reflect.Value) {
	status := ctx.Operation().DefaultStatus
	if returned.IsNil() {
		ctx.SetStatus(status)
		return
	}
	returned = returned.Elem()
	for _, h := range out.headers {
		if text := returned.Field(h.field).String(); text != "" {
			ctx.SetHeader(h.name, text)
		}
	}
	if out.status >= 0 {
		status = int(returned.Field(out.status).Int())
	}
	if out.body < 0 {
		ctx.SetStatus(status)
		return
	}
	body := returned.Field(out.body).Interface()
	if write, streams := body.(func(huma.Context)); streams {
		write(ctx)
		return
	}
	writeValue(api, ctx, status, body)
}

// writeProblem answers with the reason why an operation did not succeed.
func writeProblem(api huma.API, ctx huma.Context, p *Problem) {
	for name, values := range p.GetHeaders() {
		for _, value := range values {
			ctx.AppendHeader(name, value)
		}
	}
	writeValue(api, ctx, p.GetStatus(), p)
}

// writeValue answers with JSON. It panics if that fails, as the status has been sent; but not for a caller who has gone.
func writeValue(api huma.API, ctx huma.Context, status int, value any) {
	kind, err := api.Negotiate(ctx.Header("Accept"))
	if err != nil {
		_ = huma.WriteErr(api, ctx, http.StatusNotAcceptable, "unable to marshal response", err)
		return
	}
	if other, is := value.(huma.ContentTypeFilter); is {
		kind = other.ContentType(kind)
	}
	value, err = api.Transform(ctx, strconv.Itoa(status), value)
	if err != nil {
		panic(fmt.Errorf("transform the answer of %s: %w", ctx.Operation().OperationID, err))
	}
	ctx.SetHeader("Content-Type", kind)
	ctx.SetStatus(status)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return
	}
	if err := api.Marshal(ctx.BodyWriter(), kind, value); err != nil && !errors.Is(ctx.Context().Err(), context.Canceled) {
		panic(fmt.Errorf("write the answer of %s: %w", ctx.Operation().OperationID, err))
	}
}
