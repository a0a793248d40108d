package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/testenv"
)

const oldVersion, newVersion = "2025-11-25", "2026-07-28"

// TestTools: what models do, with both revisions of the protocol, at one Kaa.
func TestTools(t *testing.T) {
	t.Parallel()
	issuer := testenv.NewIssuer(t)
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1.5"})
	url := start(t, testenv.SystemPython(), "KAA_UV="+testenv.UV(t), "KAA_PACKAGE_INDEX="+index.URL, "KAA_MAX_BODY_BYTES=2000000", "KAA_MAX_CODE_BYTES=1000000", "KAA_CONCURRENCY=4", "KAA_OIDC_ISSUER="+issuer.URL, "KAA_OIDC_AUDIENCE=kaa")
	for name, test := range map[string]func(*testing.T, string){
		"lists tools": listsTools, "sessions": keepsVariables, "long output": cutsOutput, "errors": wordsErrors,
		"files": handlesFiles, "other tenants": hidesSessions, "cancel": cancels, "cancel of another": cancelsNoOthers, "progress": tellsProgress, "bad messages": refusesMessages,
		"hostile output": survivesOutput, "forks": forks, "packages": installs,
		"identity provider": func(t *testing.T, url string) {
			t.Helper()
			namesProvider(t, url, issuer.URL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, url)
		})
	}
}

func listsTools(t *testing.T, url string) {
	t.Helper()
	for _, version := range []string{oldVersion, newVersion} {
		s := connect(t, url, "one", version, nil)
		if got := s.InitializeResult(); got.ProtocolVersion != version || got.ServerInfo.Name != "kaa" || !strings.Contains(got.Instructions, "run_code") {
			t.Errorf("%s: %+v", version, got)
		}
		all, err := s.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var names, reading []string
		for _, tool := range all.Tools {
			names = append(names, tool.Name)
			if tool.Annotations.ReadOnlyHint {
				reading = append(reading, tool.Name)
			}
			schema, err := json.Marshal(tool.InputSchema)
			if err != nil || !bytes.Contains(schema, []byte(`"additionalProperties":false`)) || strings.Contains(string(schema), `"null"`) || tool.Title == "" {
				t.Errorf("%s: %s %v", tool.Name, schema, err)
			}
			for name, property := range tool.InputSchema.(map[string]any)["properties"].(map[string]any) {
				if property.(map[string]any)["description"] == nil {
					t.Errorf("%s: the argument %s is not described", tool.Name, name)
				}
			}
		}
		slices.Sort(names)
		slices.Sort(reading)
		if got, want := strings.Join(names, " "), "checkpoint_session end_session fork_session list_files list_sessions read_file rollback_session run_code run_code_fresh run_command search_files write_file"; got != want {
			t.Errorf("tools %s, want %s", got, want)
		}
		if got, want := strings.Join(reading, " "), "list_files list_sessions read_file search_files"; got != want {
			t.Errorf("tools that only read: %s, want %s", got, want)
		}
	}
}

func keepsVariables(t *testing.T, url string) {
	t.Helper()
	a, b := connect(t, url, "one", oldVersion, nil), connect(t, url, "one", newVersion, nil)
	if text, r := use(t, a, "run_code", args{"session": "kept", "code": "x = 41"}); r.IsError || !strings.Contains(text, "[session kept (new), ") {
		t.Errorf("%q", text)
	}
	text, r := use(t, b, "run_code", args{"session": "kept", "code": "print(x + 1)\nx + 2"})
	if r.IsError || !strings.HasPrefix(text, "42\n43\n[session kept, ") {
		t.Errorf("%q", text)
	}
	if text, _ := use(t, b, "list_sessions", nil); !strings.Contains(text, "kept (id ") {
		t.Errorf("%q", text)
	}
	if text, r := use(t, b, "end_session", args{"session": "kept"}); r.IsError || text != "Session kept has ended." {
		t.Errorf("%q", text)
	}
	if text, r := use(t, b, "run_code_fresh", args{"code": "import sys; print(sys.argv[1:], input())", "args": []string{"a"}, "stdin": "in"}); r.IsError || !strings.HasPrefix(text, "['a'] in\n[fresh sandbox") {
		t.Errorf("%q", text)
	}
}

// TestValues: charts are pictures, and tables are text.
func TestValues(t *testing.T) {
	t.Parallel()
	s := connect(t, start(t, testenv.LibsPython(t), "KAA_PACKAGES=off"), "one", "", nil)
	if text, r := use(t, s, "run_code_fresh", args{"code": "1", "packages": []string{"alpha"}}); !r.IsError || text != `"packages" is no argument; run_code_fresh takes code (required), args, envs, stdin, timeout` {
		t.Errorf("where Kaa installs no packages: %q", text)
	}
	_, r := use(t, s, "run_code_fresh", args{"code": "import matplotlib.pyplot as plt\nprint('before')\nplt.plot([1, 2]); plt.show()\nprint('after')", "timeout": 300})
	kinds := ""
	for _, c := range r.Content {
		kinds += fmt.Sprintf("%T ", c)
		if image, ok := c.(*sdk.ImageContent); ok && (image.MIMEType != "image/png" || !bytes.HasPrefix(image.Data, []byte("\x89PNG"))) {
			t.Errorf("%s %.10q", image.MIMEType, image.Data)
		}
	}
	if want := "*mcp.TextContent *mcp.ImageContent *mcp.TextContent *mcp.TextContent "; kinds != want || r.IsError {
		t.Errorf("%s %s", kinds, textOf(r))
	}
	text, _ := use(t, s, "run_code_fresh", args{"code": "import pandas as pd\npd.DataFrame({'name': ['a|b', 'c'] * 30, 'n': range(60)})", "timeout": 120})
	if !strings.HasPrefix(text, "| name | n |\n| --- | --- |\n| a\\|b | 0 |\n| c | 1 |\n") || !strings.Contains(text, "(40 of 60 rows, 2 of 2 columns)") {
		t.Errorf("%q", text)
	}
}

func cutsOutput(t *testing.T, url string) {
	t.Helper()
	s := connect(t, url, "one", "", nil)
	_, r := use(t, s, "run_code_fresh", args{"code": "for i in range(20000): print('line', i)"})
	text := textOf(r)
	link, ok := r.Content[len(r.Content)-1].(*sdk.ResourceLink)
	if !ok || len(text) > 40<<10 || !strings.HasPrefix(text, "line 0\n") || !strings.Contains(text, "\nline 19999\n") || !strings.Contains(text, " bytes left out] ") {
		t.Fatalf("%d bytes, %.100q", len(text), text)
	}
	whole, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: link.URI})
	if err != nil || !strings.Contains(whole.Contents[0].Text, "\nline 10000\n") {
		t.Errorf("%v", err)
	}
	if _, err := connect(t, url, "two", "", nil).ReadResource(t.Context(), &sdk.ReadResourceParams{URI: strings.Replace(link.URI, "output", "nothing", 1)}); err == nil {
		t.Error("a resource that is not there is read")
	}
	_, r = use(t, s, "run_code_fresh", args{"code": "open('a.txt', 'w').write('left')"})
	link, ok = r.Content[len(r.Content)-1].(*sdk.ResourceLink)
	if !ok || !strings.Contains(textOf(r), "file: a.txt (4 bytes), resource "+link.URI) {
		t.Fatalf("%s", textOf(r))
	}
	if whole, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: link.URI}); err != nil || whole.Contents[0].Text != "left" {
		t.Errorf("%v %v", whole, err)
	}
}

func wordsErrors(t *testing.T, url string) {
	t.Helper()
	s := connect(t, url, "one", "", nil)
	for name, tt := range map[string]struct {
		tool string
		args args
		want string
	}{
		"an exception":       {"run_code_fresh", args{"code": "1 / 0"}, "ZeroDivisionError: division by zero"},
		"a timeout":          {"run_code_fresh", args{"code": "while True: pass", "timeout": 0.2}, "interrupted"},
		"an exit":            {"run_code_fresh", args{"code": "import sys; sys.exit(3)"}, "exit code 3"},
		"a missing argument": {"run_code", args{"code": "1"}, "the argument session is missing; run_code takes session (required), code (required), envs, packages, preload, timeout"},
		"a misspelled one":   {"run_code", args{"code": "1", "session": "a", "timout": 1}, `"timout" is no argument; run_code takes`},
		"a wrong type":       {"run_code", args{"code": "1", "session": "a", "timeout": "x"}, "the argument timeout must be a number, not a JSON string"},
		"no name":            {"run_code", args{"code": "1", "session": "a b"}, "the argument session must be"},
		"too long a time":    {"run_code_fresh", args{"code": "1", "timeout": 1e9}, "timeout: "},
		"no code":            {"run_code_fresh", args{"code": ""}, "code: "},
		"an unknown session": {"run_code", args{"session": "01983a8a-0000-7000-8000-000000000000", "code": "1"}, "there is no such session"},
		"an unknown name":    {"read_file", args{"session": "never-opened", "path": "a"}, "there is no such session"},
		"no such program":    {"run_command", args{"session": "commands", "command": "nosuchprogram"}, "exit code 127"},
	} {
		if text, r := use(t, s, tt.tool, tt.args); !r.IsError || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %v %q", name, r.IsError, text)
		}
	}
	if text, r := use(t, s, "run_command", args{"session": "commands", "command": "echo out; echo err >&2; exit 3"}); r.IsError || !strings.Contains(text, "out\n") || !strings.Contains(text, "[stderr]\nerr\n") || !strings.Contains(text, "exit code 3") {
		t.Errorf("%q", text)
	}
	if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "nosuchtool"}); err == nil {
		t.Error("an unknown tool is called")
	}
}

func handlesFiles(t *testing.T, url string) {
	t.Helper()
	s := connect(t, url, "one", "", nil)
	for _, tt := range []struct {
		tool string
		args args
		want string
	}{
		{"write_file", args{"path": "dir/ä.txt", "content": "one\ntwo needle\n"}, "Wrote 15 bytes to "},
		{"write_file", args{"path": "b.bin", "content_base64": "AP8="}, "Wrote 2 bytes to "},
		{"list_files", args{"depth": 2}, "dir/ä.txt (15 bytes"},
		{"read_file", args{"path": "dir/ä.txt"}, "one\ntwo needle\n"},
		{"read_file", args{"path": "dir/ä.txt", "offset": 4, "length": 3}, "two\n[bytes 4 to 7 of 15; go on with offset 7]"},
		{"read_file", args{"path": "b.bin"}, "AP8=\n[as base64, bytes 0 to 2 of 2]"},
		{"search_files", args{"text": "ne+dle", "name": "*.txt"}, "dir/ä.txt:2:two needle"},
		{"search_files", args{"name": "*.bin"}, "b.bin"},
		{"search_files", args{"text": "nowhere; echo $HOME"}, "Nothing was found."},
		{"write_file", args{"path": "(/c.csv", "content": ""}, "Wrote 0 bytes to "},
		{"search_files", args{"name": "*.csv", "path": "("}, "(/c.csv"},
		{"run_command", args{"command": "cat dir/*.txt"}, "two needle"},
		{"run_code", args{"code": "open('/work/dir/ä.txt').read() if __import__('os').path.exists('/work/dir') else open('dir/ä.txt').read()"}, "two needle"},
	} {
		tt.args["session"] = "files"
		if text, r := use(t, s, tt.tool, tt.args); r.IsError || !strings.Contains(text, tt.want) {
			t.Errorf("%s %v: %q", tt.tool, tt.args, text)
		}
	}
	for _, tt := range []struct {
		tool string
		args args
	}{
		{"read_file", args{"path": "nothing"}},
		{"read_file", args{"path": "dir"}},
		{"read_file", args{"path": "a\x00b"}},
		{"write_file", args{"path": "c"}},
		{"write_file", args{"path": "c", "content_base64": "?"}},
		{"write_file", args{"path": "/etc/passwd", "content": "x"}},
		{"list_files", args{"path": "nothing"}},
		{"search_files", args{}},
		{"search_files", args{"text": "("}},
		{"list_files", args{"depth": 0}},
	} {
		tt.args["session"] = "files"
		if text, r := use(t, s, tt.tool, tt.args); !r.IsError || text == "" || strings.Contains(text, "internal error") {
			t.Errorf("%s %v: %q", tt.tool, tt.args, text)
		}
	}
}

// hidesSessions: the id and the name of another key's session are as ones that never were.
func hidesSessions(t *testing.T, url string) {
	t.Helper()
	one, two := connect(t, url, "one", "", nil), connect(t, url, "two", "", nil)
	text, r := use(t, one, "run_code", args{"session": "private", "code": "secret = 1"})
	if r.IsError {
		t.Fatal(text)
	}
	text, _ = use(t, one, "list_sessions", nil)
	_, rest, _ := strings.Cut(text, "private (id ")
	id, _, _ := strings.Cut(rest, ")")
	for name, a := range map[string]args{
		"run_code": {"code": "secret"}, "run_command": {"command": "ls"}, "list_files": {}, "read_file": {"path": "a"}, "write_file": {"path": "a", "content": "x"},
		"search_files": {"name": "*"}, "fork_session": {}, "checkpoint_session": {}, "rollback_session": {}, "end_session": {},
	} {
		a["session"] = id
		if text, r := use(t, two, name, a); !r.IsError || !strings.Contains(text, "there is no such session") {
			t.Errorf("%s of another's id: %q", name, text)
		}
	}
	if text, r := use(t, two, "run_code", args{"session": "private", "code": "'secret' in globals()"}); r.IsError || !strings.HasPrefix(text, "False\n[session private (new)") {
		t.Errorf("another's name: %q", text)
	}
	if text, _ := use(t, two, "list_sessions", nil); strings.Contains(text, id) {
		t.Errorf("another's session is listed: %q", text)
	}
}

// cancels: a call that is cancelled interrupts what it executes, and the session goes on.
func cancels(t *testing.T, url string) {
	t.Helper()
	for _, version := range []string{oldVersion, newVersion} {
		began := make(chan struct{}, 100)
		s := connect(t, url, "one", version, &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			if strings.Contains(r.Params.Message, "begun") {
				began <- struct{}{}
			}
		}})
		name := "cancelled-" + version
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-began
			cancel()
		}()
		p := &sdk.CallToolParams{Name: "run_code", Arguments: args{"session": name, "code": "import time\ntry:\n print('begun', flush=True); time.sleep(300)\nfinally: ended = True", "timeout": 200}}
		p.SetProgressToken("token")
		if _, err := s.CallTool(ctx, p); err == nil {
			t.Errorf("%s: the call went on", version)
		}
		if text, r := use(t, s, "run_code", args{"session": name, "code": "ended"}); r.IsError || !strings.HasPrefix(text, "True\n") {
			t.Errorf("%s: %q", version, text)
		}
		cancel()
	}
}

// cancelsNoOthers: clients that name no connection have the same ids. A message of one cancels no call of another.
func cancelsNoOthers(t *testing.T, url string) {
	t.Helper()
	const code = `open('began', 'w').close()\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('whole')`
	done := make(chan string, 1)
	go func() {
		_, answer := post(t, url, "one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_code","arguments":{"session":"not-cancelled","code":"`+code+`"}}}`)
		done <- answer
	}()
	s := connect(t, url, "one", "", nil)
	testenv.Eventually(t, "the beginning of the code", func() bool {
		text, _ := use(t, s, "list_files", args{"session": "not-cancelled"})
		return strings.Contains(text, "began")
	})
	if status, answer := post(t, url, "one", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`); status != http.StatusAccepted {
		t.Errorf("%d %s", status, answer)
	}
	use(t, s, "write_file", args{"session": "not-cancelled", "path": "go", "content": "x"})
	if answer := <-done; !strings.Contains(answer, "whole") {
		t.Errorf("it was cancelled: %q", answer)
	}
}

func tellsProgress(t *testing.T, url string) {
	t.Helper()
	heard, done := make(chan string, 1000), make(chan struct{})
	s := connect(t, url, "one", "", &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
		heard <- r.Params.Message
	}})
	const code = "import os, time\nprint('step 1\\nstep 2', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\n6 * 7"
	p := &sdk.CallToolParams{Name: "run_code", Arguments: args{"session": "progress", "code": code, "timeout": 300}}
	p.SetProgressToken(1)
	go func() {
		defer close(done)
		r, err := s.CallTool(t.Context(), p)
		if err != nil || !strings.HasPrefix(textOf(r), "step 1\nstep 2\n42\n") {
			t.Errorf("%v %v", err, r)
		}
	}()
	t.Cleanup(func() { <-done })
	testenv.Eventually(t, "progress", func() bool {
		select {
		case m := <-heard:
			return m == "step 2"
		case <-done:
			t.Fatal("the call has ended without progress")
		default:
		}
		return false
	})
	use(t, connect(t, url, "one", "", nil), "write_file", args{"session": "progress", "path": "go", "content": "x"})
	<-done
}

// survivesOutput: nothing that code prints gets into the protocol.
func survivesOutput(t *testing.T, url string) {
	t.Helper()
	s := connect(t, url, "one", "", nil)
	code := "import os, sys\nos.write(1, bytes(range(256)) * 20 + b'\\n\\ndata: {\"jsonrpc\":\"2.0\"}\\n\\n')\nprint('\\x1b[31mred\\x1b[0m \\u202e\\r50%\\r100%')\n'\\ud800' + 'x' * 1000000"
	text, _ := use(t, s, "run_code_fresh", args{"code": code})
	if strings.ContainsAny(text, "\x1b\x00\r\u202e") || !strings.Contains(text, "100%") || len(text) > 40<<10 {
		t.Errorf("%d %.300q", len(text), text)
	}
	if text, _ := use(t, s, "run_code_fresh", args{"code": "print('\\x1b[31mred\\x1b[0m\\x1b]0;title\\x07 \\r50%\\r100%')"}); !strings.HasPrefix(text, "100%\n") {
		t.Errorf("%q", text)
	}
}

// installs: calls name packages, for a fresh program, for a session that they open, and for one that is open.
func installs(t *testing.T, url string) {
	t.Helper()
	s := connect(t, url, "one", "", nil)
	const code = "import alpha; print(alpha.version)"
	for _, tt := range []struct {
		tool  string
		args  args
		want  string
		fails bool
	}{
		{"run_code_fresh", args{"code": code}, `hint: The runtime does not have it. The package alpha probably does: send it in the request, as "packages": ["alpha"]`, true},
		{"run_code_fresh", args{"code": code, "packages": []string{"alpha"}}, "1.5\n", false},
		{"run_code_fresh", args{"code": code, "packages": "alpha"}, "the argument packages must be an array, not a JSON string", true},
		{"run_code_fresh", args{"code": code, "packages": []string{"./alpha"}}, "packages[0]: ", true},
		{"run_code_fresh", args{"code": code, "packages": []string{"no-such-package"}}, "no-such-package was not found", true},
		{"run_code", args{"session": "with-packages", "code": code, "packages": []string{"alpha>=1", "Alpha"}}, "1.5\n", false},
		{"run_code", args{"session": "with-packages", "code": code, "packages": []string{"alpha", "alpha >= 1"}}, "1.5\n", false},
		{"run_code_fresh", args{"code": code, "packages": []string{"alpha"}, "preload": []string{"alpha"}}, "1.5\n", false},
		{"run_code_fresh", args{"code": code, "packages": []string{"alpha"}, "preload": []string{"al pha"}}, "preload[0]", true},
		{"run_code", args{"session": "with-imports", "code": code, "packages": []string{"alpha"}, "preload": []string{"alpha"}}, "1.5\n", false},
		{"run_code", args{"session": "with-imports", "code": code, "packages": []string{"alpha"}, "preload": []string{"alpha"}}, "1.5\n", false},
		{"run_code", args{"session": "with-imports", "code": code, "preload": []string{"alpha"}}, "the argument preload is for packages", true},
		{"run_command", args{"session": "with-packages", "command": "python3 -c '" + code + "'"}, "1.5\n", false},
		{"write_file", args{"session": "packages-later", "path": "a", "content": "a"}, "Wrote 1 bytes", false},
		{"run_code", args{"session": "packages-later", "code": "kept = 1", "packages": []string{"no-such-package"}}, "no-such-package", true},
		{"run_command", args{"session": "packages-later", "command": "python3 -c '" + code + "'", "packages": []string{"alpha"}}, "1.5\n", false},
		{"run_code", args{"session": "packages-later", "code": code}, "1.5\n", false},
		{"run_code", args{"session": "01983a8a-0000-7000-8000-000000000000", "code": code, "packages": []string{"alpha"}}, "there is no such session", true},
	} {
		if text, r := use(t, s, tt.tool, tt.args); r.IsError != tt.fails || !strings.Contains(text, tt.want) {
			t.Errorf("%s %v: %v %q", tt.tool, tt.args, r.IsError, text)
		}
	}
}

func forks(t *testing.T, url string) {
	t.Helper()
	s := connect(t, url, "one", "", nil)
	call := func(tool string, a args, want string) string {
		t.Helper()
		text, r := use(t, s, tool, a)
		if r.IsError || !strings.Contains(text, want) {
			t.Fatalf("%s %v: %q", tool, a, text)
		}
		return text
	}
	call("run_code", args{"session": "origin", "code": "x = 1"}, "new")
	call("checkpoint_session", args{"session": "origin"}, "Checkpoint ")
	lines := strings.Split(call("fork_session", args{"session": "origin", "count": 2}, "Made 2"), "\n")
	call("run_code", args{"session": "origin", "code": "x = 2"}, "")
	call("run_code", args{"session": lines[2], "code": "x"}, "1\n")
	call("rollback_session", args{"session": "origin"}, "is what it was")
	call("run_code", args{"session": "origin", "code": "x"}, "1\n")
}

// refusesMessages: what is no message, or too large, gets an error of JSON-RPC.
func refusesMessages(t *testing.T, url string) {
	t.Helper()
	for name, tt := range map[string]struct {
		key, body string
		status    int
		code      int
	}{
		"no key":        {"", `{}`, 401, -32000},
		"a wrong key":   {"three", `{}`, 401, -32000},
		"nothing":       {"one", "", 400, -32600},
		"no JSON":       {"one", `{"jsonrpc": `, 400, -32700},
		"a batch":       {"one", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, 400, -32600},
		"nested deeply": {"one", `{"jsonrpc":"2.0","id":1,"method":"ping","params":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5001), 400, -32600},
		"many values":   {"one", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a":[` + strings.Repeat("0,", 500_000) + `0]}}}`, 400, -32600},
		"too large":     {"one", `"` + strings.Repeat("x", 3_000_000) + `"`, 413, -32000},
		"not UTF-8":     {"one", "{\"a\": \"\xff\"}", 400, -32000},
	} {
		status, answer := post(t, url, tt.key, tt.body)
		var got struct {
			Error struct {
				Code    int
				Message string
			}
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil || status != tt.status || got.Error.Code != tt.code || got.Error.Message == "" {
			t.Errorf("%s: %d %.200s", name, status, answer)
		}
	}
	// Without an initialization before, a call works: nothing is kept between messages.
	if status, answer := post(t, url, "one", `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"run_code_fresh","arguments":{"code":"6*7","timeout":null}}}`); status != 200 || !strings.Contains(answer, `42`) {
		t.Errorf("%d %s", status, answer)
	}
}

// namesProvider: clients find the provider whose tokens are keys.
func namesProvider(t *testing.T, url, issuer string) {
	t.Helper()
	res, err := http.Post(url+"/mcp", "application/json", strings.NewReader("{}")) //nolint:noctx // short
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	want := `Bearer realm="kaa", resource_metadata="` + url + `/.well-known/oauth-protected-resource/mcp", scope="kaa:execute kaa:read kaa:files kaa:sessions"`
	if got := res.Header.Get("WWW-Authenticate"); res.StatusCode != http.StatusUnauthorized || got != want {
		t.Errorf("%d %s", res.StatusCode, got)
	}
	for _, path := range []string{"", "/mcp"} {
		res, err := http.Get(url + "/.well-known/oauth-protected-resource" + path) //nolint:noctx // short
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Resource string
			Servers  []string `json:"authorization_servers"`
		}
		err = json.NewDecoder(res.Body).Decode(&got)
		_ = res.Body.Close()
		if err != nil || got.Resource != url+"/mcp" || !slices.Equal(got.Servers, []string{issuer}) {
			t.Errorf("%q: %+v %v", path, got, err)
		}
	}
}
