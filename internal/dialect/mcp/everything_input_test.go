package mcp_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// sampled is the text that the client's model has answered.
func sampled(given sdk.InputResponseMap, key string) (string, bool) {
	r, ok := given[key].(*sdk.CreateMessageWithToolsResult)
	if !ok || r == nil {
		return "", false
	}
	for _, c := range r.Content {
		if text, ok := c.(*sdk.TextContent); ok {
			return text.Text, true
		}
	}
	return "", true
}

// prompts is a request for an answer of the client's model.
func prompts(text string) *sdk.CreateMessageParams {
	return &sdk.CreateMessageParams{MaxTokens: 100, Messages: []*sdk.SamplingMessage{{Role: "user", Content: &sdk.TextContent{Text: text}}}}
}

// needs is a result that asks for input.
func needs(state string, requests sdk.InputRequestMap) *sdk.CallToolResult {
	return &sdk.CallToolResult{InputRequests: requests, RequestState: state}
}

// addInputTools adds the tools that need input of the client before they have a result. What they know is in the state that the client
// sends back.
func addInputTools(server *sdk.Server) {
	addTestTool(server, "test_input_required_result_elicitation", func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if name, _ := accepted(r.Params.InputResponses, "user_name")["name"].(string); name != "" {
			return says("Hello, %s!", name), nil
		}
		return needs("", sdk.InputRequestMap{"user_name": asks("What is your name?", "name", "string")}), nil
	})
	addTestTool(server, "test_input_required_result_sampling", func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if text, ok := sampled(r.Params.InputResponses, "capital_question"); ok {
			return says("The model said %s", text), nil
		}
		return needs("", sdk.InputRequestMap{"capital_question": prompts("What is the capital of France?")}), nil
	})
	addTestTool(server, "test_input_required_result_list_roots", func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if roots, ok := r.Params.InputResponses["client_roots"].(*sdk.ListRootsResult); ok && roots != nil {
			uris := []string{}
			for _, root := range roots.Roots {
				uris = append(uris, root.URI)
			}
			return says("%d roots: %s", len(uris), strings.Join(uris, ", ")), nil
		}
		return needs("", sdk.InputRequestMap{"client_roots": &sdk.ListRootsParams{}}), nil
	})
	addTestTool(server, "test_input_required_result_request_state", confirms)
	addTestTool(server, "test_input_required_result_tampered_state", confirms)
	addTestTool(server, "test_input_required_result_multiple_inputs", asksAll)
	addTestTool(server, "test_input_required_result_multi_round", asksTwice)
	addTestTool(server, "test_input_required_result_capabilities", asksWhatTheClientHas)
}

// sealed is the state that confirms gives out, and the only one that it takes.
const sealed = "the state of a confirmation"

func confirms(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	if r.Params.RequestState != "" && r.Params.RequestState != sealed {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "requestState was changed"}
	}
	if r.Params.RequestState != "" && accepted(r.Params.InputResponses, "confirm") != nil {
		return says("state-ok"), nil
	}
	return needs(sealed, sdk.InputRequestMap{"confirm": asks("Please confirm", "ok", "boolean")}), nil
}

func asksAll(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	given := r.Params.InputResponses
	name, _ := accepted(given, "user_name")["name"].(string)
	greeting, greeted := sampled(given, "greeting")
	roots, ok := given["client_roots"].(*sdk.ListRootsResult)
	if name != "" && greeted && ok && roots != nil {
		return says("%s %s, %d roots", greeting, name, len(roots.Roots)), nil
	}
	return needs("all", sdk.InputRequestMap{
		"user_name": asks("What is your name?", "name", "string"), "greeting": prompts("Generate a greeting"), "client_roots": &sdk.ListRootsParams{},
	}), nil
}

func asksTwice(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	name, second := strings.CutPrefix(r.Params.RequestState, "second ")
	switch {
	case second:
		return says("%s likes %v", name, accepted(r.Params.InputResponses, "step2")["color"]), nil
	case r.Params.RequestState == "first":
		state := "second " + fmt.Sprint(accepted(r.Params.InputResponses, "step1")["name"])
		return needs(state, sdk.InputRequestMap{"step2": asks("Step 2: What is your favorite color?", "color", "string")}), nil
	}
	return needs("first", sdk.InputRequestMap{"step1": asks("Step 1: What is your name?", "name", "string")}), nil
}

func asksWhatTheClientHas(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	requests, c := sdk.InputRequestMap{}, r.ClientCapabilities()
	if c != nil && c.Elicitation != nil {
		requests["user_name"] = asks("What is your name?", "name", "string")
	}
	if c != nil && c.Sampling != nil {
		requests["greeting"] = prompts("Generate a greeting")
	}
	if len(r.Params.InputResponses) > 0 || len(requests) == 0 {
		return says("done"), nil
	}
	return needs("", requests), nil
}
