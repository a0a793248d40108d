package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// everything returns a server that has what the conformance suite asks of one. The names and texts are the suite's.
func everything() *sdk.Server {
	server := sdk.NewServer(&sdk.Implementation{Name: "everything", Version: "1"}, &sdk.ServerOptions{
		CompletionHandler: func(context.Context, *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{}}}, nil
		},
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
	})
	addContentTools(server)
	addCallTools(server)
	addInputTools(server)
	addTestResources(server)
	addTestPrompts(server)
	return server
}

// handler handles a call of a test tool.
type handler func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error)

func addTestTool(server *sdk.Server, name string, do handler) {
	addTestToolOf(server, name, map[string]any{"type": "object"}, do)
}

func addTestToolOf(server *sdk.Server, name string, schema any, do handler) {
	server.AddTool(&sdk.Tool{Name: name, Description: "A tool of the conformance suite.", InputSchema: schema}, sdk.ToolHandler(do))
}

// with is a result of these contents.
func with(content ...sdk.Content) *sdk.CallToolResult { return &sdk.CallToolResult{Content: content} }

func says(format string, args ...any) *sdk.CallToolResult {
	return with(&sdk.TextContent{Text: fmt.Sprintf(format, args...)})
}

// always returns a handler that answers the same.
func always(r *sdk.CallToolResult) handler {
	return func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		copied := *r
		return &copied, nil
	}
}

// A picture and a sound: nobody looks at or listens to them.
var png, wav = []byte("\x89PNG\r\n\x1a\n"), []byte("RIFF\x24\x00\x00\x00WAVEfmt ")

func embedded(uri string) *sdk.EmbeddedResource {
	return &sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: uri, MIMEType: "text/plain", Text: "The content of an embedded resource."}}
}

func addContentTools(server *sdk.Server) {
	text, image := &sdk.TextContent{Text: "This is a simple text response for testing."}, &sdk.ImageContent{Data: png, MIMEType: "image/png"}
	addTestTool(server, "test_simple_text", always(with(text)))
	addTestTool(server, "test_image_content", always(with(image)))
	addTestTool(server, "test_audio_content", always(with(&sdk.AudioContent{Data: wav, MIMEType: "audio/wav"})))
	addTestTool(server, "test_embedded_resource", always(with(embedded("test://embedded-resource"))))
	addTestTool(server, "test_multiple_content_types", always(with(text, image, embedded("test://mixed-content-resource"))))
	addTestTool(server, "test_streaming_elicitation", always(with(text)))
	addTestTool(server, "test_error_handling", func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		r := says("This tool intentionally returns an error for testing")
		r.IsError = true
		return r, nil
	})
	addTestToolOf(server, "json_schema_2020_12_tool", json.RawMessage(`{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
		"$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
		"properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
			"contactMethod": {"type": "string", "enum": ["phone", "email"]}, "phone": {"type": "string"}, "email": {"type": "string"}},
		"allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
		"if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
		"then": {"required": ["phone"]}, "else": {"required": ["email"]},
		"additionalProperties": false}`), always(with(text)))
	addTestToolOf(server, "test_x_mcp_header", json.RawMessage(`{"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}`), always(with(text)))
}

// addCallTools adds tools that do something while they are called.
func addCallTools(server *sdk.Server) {
	addTestTool(server, "test_tool_with_progress", func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for _, n := range []float64{0, 50, 100} {
			if err := r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: n, Total: 100}); err != nil {
				return nil, err
			}
		}
		return says("done"), nil
	})
	addTestTool(server, "test_tool_with_logging", func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for _, text := range []string{"started", "processing", "completed"} {
			if err := r.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "info", Data: text}); err != nil {
				return nil, err
			}
		}
		return says("done"), nil
	})
	addTestTool(server, "test_logging_tool", func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return says("logged"), r.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "info", Data: "called"})
	})
	addTestTool(server, "test_missing_capability", func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if c := r.ClientCapabilities(); c != nil && c.Sampling != nil {
			return says("The client has the capability."), nil
		}
		data, err := json.Marshal(sdk.MissingRequiredClientCapabilityData{RequiredCapabilities: &sdk.ClientCapabilities{Sampling: &sdk.SamplingCapabilities{}}})
		if err != nil {
			return nil, err
		}
		return nil, &jsonrpc.Error{Code: sdk.CodeMissingRequiredClientCapabilities, Message: "sampling is needed", Data: data}
	})
	addTestTool(server, "test_trigger_tool_change", func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		addTestTool(server, "test_transient", always(says("here")))
		return says("changed"), nil
	})
	addTestTool(server, "test_trigger_prompt_change", func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		server.AddPrompt(&sdk.Prompt{Name: "test_transient", Description: "A prompt that was added."}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
			return &sdk.GetPromptResult{}, nil
		})
		return says("changed"), nil
	})
}

func addTestResources(server *sdk.Server) {
	read := func(content sdk.ResourceContents) sdk.ResourceHandler {
		return func(_ context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
			copied := content
			copied.URI = r.Params.URI
			copied.Text = strings.ReplaceAll(copied.Text, "URI", r.Params.URI)
			return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{&copied}}, nil
		}
	}
	text := sdk.ResourceContents{MIMEType: "text/plain", Text: "This is the content of the static text resource."}
	server.AddResource(&sdk.Resource{Name: "static-text", URI: "test://static-text", MIMEType: text.MIMEType}, read(text))
	server.AddResource(&sdk.Resource{Name: "watched", URI: "test://watched-resource", MIMEType: text.MIMEType}, read(text))
	server.AddResource(&sdk.Resource{Name: "static-binary", URI: "test://static-binary", MIMEType: "image/png"}, read(sdk.ResourceContents{MIMEType: "image/png", Blob: png}))
	server.AddResourceTemplate(&sdk.ResourceTemplate{Name: "template", URITemplate: "test://template/{id}/data", MIMEType: "application/json"},
		read(sdk.ResourceContents{MIMEType: "application/json", Text: `{"of": "URI"}`}))
}

func addTestPrompts(server *sdk.Server) {
	prompt := func(name string, arguments []string, messages func(given map[string]string) []sdk.Content) {
		p := &sdk.Prompt{Name: name, Description: "A prompt of the conformance suite."}
		for _, a := range arguments {
			p.Arguments = append(p.Arguments, &sdk.PromptArgument{Name: a, Required: true})
		}
		server.AddPrompt(p, func(_ context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
			result := &sdk.GetPromptResult{}
			for _, content := range messages(r.Params.Arguments) {
				result.Messages = append(result.Messages, &sdk.PromptMessage{Role: "user", Content: content})
			}
			return result, nil
		})
	}
	prompt("test_simple_prompt", nil, func(map[string]string) []sdk.Content {
		return []sdk.Content{&sdk.TextContent{Text: "This is a simple prompt for testing."}}
	})
	prompt("test_prompt_with_arguments", []string{"arg1", "arg2"}, func(given map[string]string) []sdk.Content {
		return []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf("arg1='%s', arg2='%s'", given["arg1"], given["arg2"])}}
	})
	prompt("test_prompt_with_embedded_resource", []string{"resourceUri"}, func(given map[string]string) []sdk.Content {
		return []sdk.Content{embedded(given["resourceUri"]), &sdk.TextContent{Text: "Please process the embedded resource above."}}
	})
	prompt("test_prompt_with_image", nil, func(map[string]string) []sdk.Content {
		return []sdk.Content{&sdk.ImageContent{Data: png, MIMEType: "image/png"}, &sdk.TextContent{Text: "Please analyze the image above."}}
	})
	server.AddPrompt(&sdk.Prompt{Name: "test_input_required_result_prompt", Description: "A prompt that needs input."}, func(_ context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		if given := accepted(r.Params.InputResponses, "user_context"); given != nil {
			return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: fmt.Sprint(given["context"])}}}}, nil
		}
		return &sdk.GetPromptResult{InputRequests: sdk.InputRequestMap{"user_context": asks("What context should the prompt use?", "context", "string")}}, nil
	})
}

// asks is a request for one value from the person at the client.
func asks(message, field, kind string) *sdk.ElicitParams {
	return &sdk.ElicitParams{Message: message, RequestedSchema: &jsonschema.Schema{
		Type: "object", Properties: map[string]*jsonschema.Schema{field: {Type: kind}}, Required: []string{field},
	}}
}

// accepted is what a person has answered; nil if they have not.
func accepted(given sdk.InputResponseMap, key string) map[string]any {
	if r, ok := given[key].(*sdk.ElicitResult); ok && r != nil && r.Action == "accept" {
		return r.Content
	}
	return nil
}
