package cli_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/devredis"
	"github.com/kaa-run/kaa/internal/testenv"
)

// speakMCP runs `kaa mcp`, and returns functions that send a line and read the next one. The end of the test ends its input.
func speakMCP(t *testing.T, environ app.Environment) (send func(string), next func() map[string]any) {
	t.Helper()
	in, input := io.Pipe()
	output, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- cli.MCP(t.Context(), app.Process{Environ: environ, Stdout: out, Stderr: new(testenv.Buffer), Redis: devredis.Start}, in)
		_ = out.Close()
	}()
	t.Cleanup(func() {
		_ = input.Close()
		go func() { _, _ = io.Copy(io.Discard, output) }()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(output)
	send = func(line string) {
		if _, err := io.WriteString(input, line+"\n"); err != nil {
			t.Error(err)
		}
	}
	return send, func() map[string]any {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return m
	}
}

// TestMCP: messages go to a Kaa and answers come back, a line each, whatever is between them.
func TestMCP(t *testing.T) {
	t.Parallel()
	send, next := speakMCP(t, app.Environment{"KAA_URL=" + start(t, "KAA_API_KEYS=key"), "KAA_API_KEY=key"})
	code := func(id, code string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"run_code","arguments":{"session":"s","code":%q},"_meta":{"progressToken":1}}}`, id, code)
	}
	answerTo := func(id string) string {
		t.Helper()
		for {
			if m := next(); m["id"] != nil || m["error"] != nil { // a notification has neither
				if got := fmt.Sprint(m["id"]); got != id {
					t.Fatalf("%v, want the answer to %s", m, id)
				}
				return fmt.Sprint(m["result"], m["error"])
			}
		}
	}
	send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	if a := answerTo("0"); !strings.Contains(a, "protocolVersion:2025-11-25") {
		t.Error(a)
	}
	send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	send("")
	send(code(`"a"`, "x = 41"))
	if a := answerTo("a"); !strings.Contains(a, "session s (new)") {
		t.Error(a)
	}
	send("{no JSON")
	if a := answerTo("<nil>"); !strings.Contains(a, "-32700") {
		t.Error(a)
	}
	send(`{"jsonrpc":"2.0","id":1,"method":"ping","params":"` + strings.Repeat("x", 17<<20) + `"}`)
	if a := answerTo("<nil>"); !strings.Contains(a, "larger than") {
		t.Error(a)
	}
	// Two at once: the one that is cancelled gets no answer, and lets the other one begin.
	send(code("2", "print('begun', flush=True)\nimport time; time.sleep(300)"))
	for m := next(); ; m = next() {
		if strings.Contains(fmt.Sprint(m["params"]), "begun") {
			break
		}
	}
	send(code("3", "x + 1"))
	send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
	if a := answerTo("3"); !strings.Contains(a, "42") {
		t.Error(a)
	}
	send(`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"name":"run_code","arguments":{"session":"s","code":"x"}}}`)
	if a := answerTo("4"); !strings.Contains(a, "41") {
		t.Error(a)
	}
	send(`{"jsonrpc":"2.0","id":5,"method":"no/such"}`)
	if a := answerTo("5"); !strings.Contains(a, "code:-32") {
		t.Error(a)
	}
}

// TestMCPAlone: without KAA_URL the program has a Kaa of its own. What a client has sent before the end of its input is answered.
func TestMCPAlone(t *testing.T) {
	t.Parallel()
	var out testenv.Buffer
	environ := app.Environment{"KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + t.TempDir(), "KAA_CONCURRENCY=1"}
	in := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_code_fresh","arguments":{"code":"6 * 7"}}}`)
	if err := cli.MCP(t.Context(), app.Process{Environ: environ, Stdout: &out, Stderr: new(testenv.Buffer), Redis: devredis.Start}, in); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"text":"42"`) {
		t.Errorf("%q", got)
	}
	err := cli.MCP(t.Context(), app.Process{Environ: app.Environment{"KAA_URL=http://127.0.0.1:1"}, Stdout: &out, Stderr: new(testenv.Buffer)}, strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"ping"}`))
	if got := out.String(); err != nil || !strings.Contains(got, `"id":7`) || !strings.Contains(got, "nothing answers at http://127.0.0.1:1 (KAA_URL)") {
		t.Errorf("%v %q", err, got)
	}
}
