package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/service"
)

// argumentError says what is wrong with the arguments of a tool.
type argumentError struct{ text string }

func (e *argumentError) Error() string { return e.text }

// Hints about a tool for the user interface of a client.
type hints int

const (
	reads      hints = 1 << iota // changes nothing
	adds                         // changes something, and removes or replaces nothing
	idempotent                   // repeated, it changes nothing more
)

func (h hints) annotations(title string) *sdk.ToolAnnotations {
	no, destructive := false, h&(reads|adds) == 0
	// The world of a sandbox ends at its walls.
	return &sdk.ToolAnnotations{Title: title, ReadOnlyHint: h&reads != 0, DestructiveHint: &destructive, IdempotentHint: h&(idempotent|reads) != 0, OpenWorldHint: &no}
}

// request is a call of a tool as the handler of the tool sees it.
type request struct {
	*sdk.CallToolRequest
	caller service.Caller
}

// tool describes a tool of which the arguments are In.
type tool[In any] struct {
	name, title, description string
	hints                    hints
	// adjust changes the schema that follows from the fields of In; it may be nil.
	adjust func(*jsonschema.Schema)
	run    func(ctx context.Context, r request, in In) (*sdk.CallToolResult, error)
}

// addTool adds a tool. Arguments are checked here, and not by the SDK, whose messages do not say what to change.
func addTool[In any](d *Dialect, t tool[In]) {
	schema, err := jsonschema.For[In](nil)
	if err != nil {
		panic(fmt.Errorf("schema of %s: %w", t.name, err)) // a mistake of this package
	}
	if t.adjust != nil {
		t.adjust(schema)
	}
	d.tools[t.name] = true
	var shown any = schema
	if len(schema.Properties) == 0 { // some clients refuse a schema without properties
		shown = map[string]any{"type": "object", "properties": map[string]any{}, "additionalProperties": false}
	}
	d.server.AddTool(&sdk.Tool{
		Name: t.name, Title: t.title, Description: t.description, InputSchema: shown, Annotations: t.hints.annotations(t.title),
	}, func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		ctx, end := attached(ctx)
		defer end()
		in, err := decode[In](t.name, schema, r.Params.Arguments)
		var result *sdk.CallToolResult
		if err == nil {
			result, err = t.run(ctx, request{r, service.CallerOf(ctx)}, in)
		}
		if err == nil {
			err = holdResult(ctx, result)
		}
		if err != nil {
			return d.failed(ctx, t.name, service.OfKey(ctx, err)), nil
		}
		return result, nil
	})
}

// attached returns a context for the handler of a tool that ends with the call: the SDK's goes on when the client has left.
func attached(ctx context.Context) (context.Context, func()) {
	c, ok := ctx.Value(carriedKey{}).(*carried)
	if !ok {
		return ctx, func() {}
	}
	c.stream.begin()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.request, func() { cancel(context.Cause(c.request)) })
	return ctx, func() {
		stop()
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.call = service.CallOf(ctx)
	}
}

// failed is the result of a call that could not be carried out.
func (d *Dialect) failed(ctx context.Context, name string, err error) *sdk.CallToolResult {
	text := words(err)
	if errors.Is(err, service.ErrUnauthorized) {
		text = keyWords(err)
	}
	call := service.CallOf(ctx)
	switch {
	case text != "":
		call.Problem = "tool_failed"
	case errors.Is(err, context.Canceled):
		call.Problem, text = "client_closed", "the call was cancelled"
	default:
		call.Problem, text = "internal", "internal error; it has been logged"
		d.Log.ErrorContext(ctx, "mcp: unexpected error of a tool", slog.String("tool", name), slog.Any("err", err))
	}
	return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: clip(text, mostText)}}}
}

// said is a result that is a text.
func said(format string, args ...any) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

// decode reads the arguments of a tool. Models misspell them, so its errors name those that there are.
func decode[In any](name string, schema *jsonschema.Schema, raw json.RawMessage) (in In, err error) {
	given := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &given); err != nil {
			return in, &argumentError{"the arguments must be a JSON object; " + takes(name, schema)}
		}
	}
	maps.DeleteFunc(given, func(_ string, v json.RawMessage) bool { return bytes.Equal(v, []byte("null")) })
	for _, argument := range slices.Sorted(maps.Keys(given)) {
		if _, ok := schema.Properties[argument]; !ok {
			return in, &argumentError{fmt.Sprintf("%q is no argument; %s", clip(argument, 100), takes(name, schema))}
		}
	}
	for _, argument := range schema.Required {
		if _, ok := given[argument]; !ok {
			return in, &argumentError{fmt.Sprintf("the argument %s is missing; %s", argument, takes(name, schema))}
		}
	}
	clean, err := json.Marshal(given)
	if err != nil {
		return in, fmt.Errorf("encode arguments: %w", err)
	}
	if err := json.Unmarshal(clean, &in); err != nil {
		mistaken := (*json.UnmarshalTypeError)(nil)
		if errors.As(err, &mistaken) {
			return in, &argumentError{fmt.Sprintf("the argument %s must be %s, not a JSON %s", mistaken.Field, kindOf(schema, mistaken.Field), mistaken.Value)}
		}
		return in, &argumentError{"the arguments cannot be read; " + takes(name, schema)}
	}
	return in, nil
}

// kindOf says of which type an argument is.
func kindOf(schema *jsonschema.Schema, field string) string {
	argument, _, _ := strings.Cut(field, ".")
	property := schema.Properties[argument]
	if property == nil {
		return "of another type"
	}
	kind := property.Type
	for _, t := range property.Types {
		if t != "null" {
			kind = t
		}
	}
	switch kind {
	case "array", "integer", "object":
		return "an " + kind
	}
	return "a " + kind
}

// takes lists the arguments of a tool.
func takes(name string, schema *jsonschema.Schema) string {
	all := slices.Clone(schema.Required)
	for i := range all {
		all[i] += " (required)"
	}
	for _, argument := range slices.Sorted(maps.Keys(schema.Properties)) {
		if !slices.Contains(schema.Required, argument) {
			all = append(all, argument)
		}
	}
	if len(all) == 0 {
		return name + " takes no arguments"
	}
	return name + " takes " + strings.Join(all, ", ")
}
