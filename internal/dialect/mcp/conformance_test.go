package mcp_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/dialect/mcp"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestConformance runs the conformance suite of the protocol at the dialect with the tools, resources and prompts that the suite asks
// of a server, beside Kaa's own. So transport, messages and set-up are those of Kaa.
func TestConformance(t *testing.T) {
	t.Parallel()
	testenv.Long(t)
	url := startWith(t, []app.Dialect{{Name: "everything", New: func(p dialect.Parts) door.Dialect { return mcp.NewOn(p, everything()) }}}, testenv.SystemPython(), "KAA_API_KEYS=")
	out, err := exec.CommandContext(t.Context(), "../../../scripts/mcp-conformance", url+"/everything", "everything").CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 77 {
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("scripts/mcp-conformance: %v", err)
	}
}

// TestEverything: the dialect answers with what a server beside it has: another kind of content, a prompt, a request for input.
func TestEverything(t *testing.T) {
	t.Parallel()
	url := startWith(t, []app.Dialect{{Name: "everything", New: func(p dialect.Parts) door.Dialect { return mcp.NewOn(p, everything()) }}}, testenv.SystemPython())
	s := connectAt(t, url+"/everything", "one", newVersion, &sdk.ClientOptions{ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
		return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
	}})
	if _, r := use(t, s, "test_audio_content", nil); len(r.Content) != 1 || r.Content[0].(*sdk.AudioContent).MIMEType != "audio/wav" {
		t.Errorf("%+v", r)
	}
	if text, _ := use(t, s, "test_input_required_result_elicitation", nil); text != "Hello, Ada!" {
		t.Errorf("%q", text)
	}
	if p, err := s.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: "test_simple_prompt"}); err != nil || len(p.Messages) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if text, r := use(t, s, "run_code_fresh", args{"code": "6 * 7"}); r.IsError || text[:2] != "42" {
		t.Errorf("%q", text)
	}
}
