package dialect_test

import (
	"net/http"
	"strings"
	"testing"
)

// large is a body that is larger than one may be.
func large() string { return `{"language": "python", "code": "` + strings.Repeat("#", 30000) + `"}` }

// dify: an error of the code is one in the data, and a refusal has a negative code.
func dify(t *testing.T, k kaa, _, _ string) {
	t.Helper()
	const run = "/dify/v1/sandbox/run"
	k.exchange(t, "X-Api-Key: one", []exchange{
		{"health", http.MethodGet, "/dify/health", "", 200, []string{`"ok"`}, ""},
		{"output", "", run, `{"language": "python3", "code": "print(6*7)", "preload": "", "enable_network": true}`, 200, []string{`"code":0`, `"message":"success"`, `"stdout":"42\n"`, `"error":""`, `"exit_code":0`}, ""},
		{"preload", "", run, `{"language": "python3", "code": "print(x)", "preload": "x = 5"}`, 200, []string{`"stdout":"5\n"`}, ""},
		{"an exception", "", run, `{"language": "python3", "code": "print(1)\nraise ValueError('no')"}`, 200, []string{`"code":0`, `"stdout":"1\n"`, `ValueError: no\n"`, `"exit_code":1`}, `"error":""`},
		{"a time limit", "", run, `{"language": "python3", "code": "while True: pass", "timeout": 0.2}`, 200, []string{`"exit_code":-1`, `timed out`}, `"error":""`},
		{"another language", "", run, `{"language": "nodejs", "code": "1"}`, 400, []string{`{"code":-400,"message":"unsupported language","data":null}`}, ""},
		{"no code", "", run, `{"language": "python3", "code": " "}`, 400, []string{`"code":-400`}, ""},
		{"half a body", "", run, `{"language": "python3", "code": "pri`, 400, []string{`"code":-400`, "ends early"}, ""},
		{"no body", "", run, "", 400, []string{`"code":-400`}, ""},
		{"too large", "", run, large(), 413, []string{`"code":-413`}, ""},
		{"another route", http.MethodGet, "/dify/v1/sandbox/dependencies", "", 404, []string{`"code":-404`}, ""},
		{"another method", http.MethodGet, run, "", 404, []string{`"code":-404`}, ""},
	})
	k.exchange(t, "X-Api-Key: three", []exchange{
		{"a wrong key", "", run, `{"language": "python3", "code": "1"}`, 401, []string{`"code":-401`}, ""},
	})
}

// piston: programs with files, and each end of one by its status.
func piston(t *testing.T, k kaa, _, _ string) {
	t.Helper()
	const run = "/piston/api/v2/execute"
	file := func(code string) []fields { return []fields{{"name": "main.py", "content": code}} }
	k.exchange(t, "Authorization: one", []exchange{
		{"runtimes", http.MethodGet, "/piston/api/v2/runtimes", "", 200, []string{`"language":"python","version":"3.`, `"py"`, `"language":"bash"`}, ""},
		{"output", "", run, bodyOf(t, fields{"language": "py", "version": "3.10.0", "files": file("import sys\nprint(input(), sys.argv[1:])\nsys.stderr.write('e')"), "stdin": "in", "args": []string{"a"}}), 200, []string{`"stdout":"in ['a']\n"`, `"stderr":"e"`, `"code":0`, `"signal":null`, `"language":"python"`}, ""},
		{"files", "", run, bodyOf(t, fields{"language": "python", "version": "*", "files": []fields{{"name": "main.py", "content": "import m; print(m.x, open('b').read())"}, {"name": "m.py", "content": "x = 1"}, {"name": "b", "content": "aGk=", "encoding": "base64"}}}), 200, []string{`"stdout":"1 hi\n"`}, ""},
		{"an exit", "", run, bodyOf(t, fields{"language": "python", "version": "3", "files": file("import sys; sys.exit(3)")}), 200, []string{`"code":3`, `"status":"RE"`}, ""},
		{"a time limit", "", run, bodyOf(t, fields{"language": "python", "version": "3", "files": file("while True: pass"), "run_timeout": 200}), 200, []string{`"code":null`, `"signal":"SIGKILL"`, `"status":"TO"`}, ""},
		{"bash", "", run, bodyOf(t, fields{"language": "bash", "version": "5.x", "files": file("echo $1; exit 2"), "args": []string{"hi"}}), 200, []string{`"stdout":"hi\n"`, `"code":2`}, ""},
		{"an unknown language", "", run, bodyOf(t, fields{"language": "rust", "version": "1", "files": file("")}), 400, []string{`{"message":"rust-1 runtime is unknown"}`}, ""},
		{"an unknown version", "", run, bodyOf(t, fields{"language": "python", "version": "2.7.18", "files": file("")}), 400, []string{`python-2.7.18 runtime is unknown`}, ""},
		{"no version", "", run, `{"language": "python", "files": []}`, 400, []string{`version is required as a string`}, ""},
		{"no files", "", run, `{"language": "python", "version": "3"}`, 400, []string{`files is required as an array`}, ""},
		{"no content", "", run, `{"language": "python", "version": "3", "files": [{"name": "a"}]}`, 400, []string{`files[0].content is required as a string`}, ""},
		{"an empty file", "", run, `{"language": "python", "version": "3", "files": [{"content": ""}]}`, 200, []string{`"stdout":""`, `"code":0`}, ""},
		{"a path outside", "", run, `{"language": "python", "version": "3", "files": [{"name": "../a", "content": "1"}]}`, 400, []string{`files stay in the working directory`}, ""},
		{"a wrong type", "", run, `{"language": "python", "version": "3", "files": [], "args": "a"}`, 400, []string{`args cannot be a string`}, ""},
		{"too large", "", run, large(), 413, []string{`"message":`}, ""},
		{"another route", http.MethodGet, "/piston/nothing", "", 404, []string{`{"message":"Not Found"}`}, ""},
	})
}

// sandboxfusion: programs and cells, with files both ways.
func sandboxfusion(t *testing.T, k kaa, _, _ string) {
	t.Helper()
	const run = "/sandboxfusion/run_code"
	k.exchange(t, "Authorization: Basic b25lOg==", []exchange{ // http://one:@host
		{"ping", http.MethodGet, "/sandboxfusion/v1/ping", "", 200, []string{`"pong"`}, ""},
		{"output", "", run, `{"language": "python", "code": "print(input())", "stdin": "in", "compile_timeout": 10, "run_timeout": 300, "memory_limit_MB": -1}`, 200, []string{`"status":"Success"`, `"run_result":{"status":"Finished"`, `"return_code":0`, `"stdout":"in\n"`, `"compile_result":null`, `"files":{}`}, ""},
		{"an exception", "", run, `{"language": "python", "code": "1/0", "run_timeout": 300}`, 200, []string{`"status":"Failed"`, `"status":"Finished"`, `"return_code":1`, `ZeroDivisionError`}, ""},
		{"a signal", "", run, `{"language": "python", "code": "import os; os.kill(os.getpid(), 9)", "run_timeout": 300}`, 200, []string{`"status":"Failed"`, `"return_code":-9`}, ""},
		{"a time limit", "", run, `{"language": "python", "code": "while True: pass", "run_timeout": 0.2}`, 200, []string{`"status":"Failed"`, `"status":"TimeLimitExceeded"`, `"return_code":null`}, ""},
		{"a memory limit", "", run, `{"language": "python", "code": "x = bytearray(300 << 20)\nx[::4096] = b'1' * len(x[::4096])", "memory_limit_MB": 100, "run_timeout": 300}`, 200, []string{`"status":"Failed"`}, `"return_code":0`},
		{"files", "", run, `{"language": "python", "code": "open('out', 'w').write(open('d/in').read() * 2)", "files": {"d/in": "aGk=", "none": null}, "fetch_files": ["out", "./d/in", "no"], "run_timeout": 300}`, 200, []string{`"files":{"./d/in":"aGk=","out":"aGloaQ=="}`}, ""},
		{"bash", "", run, `{"language": "bash", "code": "echo hi", "run_timeout": 300}`, 200, []string{`"stdout":"hi\n"`}, ""},
		{"another language", "", run, `{"language": "cpp", "code": "1"}`, 422, []string{`"detail":[{"type":"value_error","loc":["body"]`}, ""},
		{"no language", "", run, `{"code": "1"}`, 422, []string{`"detail":`}, ""},
		{"no base64", "", run, `{"language": "python", "code": "1", "files": {"a": "!"}}`, 422, []string{`is not base64`}, ""},
		{"half a body", "", run, `{"language": "python"`, 422, []string{`ends early`}, ""},
		{"too large", "", run, large(), 413, []string{`"detail":`}, ""},
		{"another route", "", "/sandboxfusion/submit", "{}", 404, []string{`{"detail":"Not Found"}`}, ""},
		{"cells", "", "/sandboxfusion/run_jupyter", `{"cells": ["a = 123", "a", "", "print(a)", "raise RuntimeError('no')", "open('f', 'w').write(str(a)); None"], "fetch_files": ["f", "g"], "total_timeout": 300}`, 200, []string{
			`"status":"Success"`, `"text/plain":"123"`, `"stdout":"123\n"`, `"ename":"RuntimeError","evalue":"no"`, `"files":{"f":"MTIz"}`,
		}, ""},
		{"a cell without end", "", "/sandboxfusion/run_jupyter", `{"cells": ["while True: pass"], "total_timeout": 0.3}`, 200, []string{`"status":"Failed"`, `"status":"TimeLimitExceeded"`}, ""},
		{"cells that put out too much", "", "/sandboxfusion/run_jupyter", `{"cells": ["print('x' * 60000)", "print('x' * 60000)"], "total_timeout": 300}`, 200, []string{`"status":"Failed"`, `put out more than 100000 bytes`, `"cells":[]`}, ""},
		{"no cells", "", "/sandboxfusion/run_jupyter", `{}`, 422, []string{`cells`}, ""},
	})
	k.exchange(t, "X-API-Key: three", []exchange{{"a wrong key", "", run, `{}`, 401, []string{`{"detail":`}, ""}})
}
