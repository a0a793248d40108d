package jupyter

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// lookCode is Python that looks at the variables of the interpreter, and binds no name in it.
//
//go:embed look.py
var lookCode []byte

// packedLook is an expression of Python for lookCode. Each look has it, and so have the record of its job and the lines that the
// interpreter keeps for tracebacks.
var packedLook = sync.OnceValue(func() string { //nolint:gochecknoglobals // a constant
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, _ = w.Write(lookCode) // a buffer takes all
	_ = w.Close()
	return `__import__("zlib").decompress(__import__("base64").b64decode("` + base64.StdEncoding.EncodeToString(packed.Bytes()) + `"))`
})

const (
	lookTime = 10.0             // seconds that a look may take
	lookWait = 15 * time.Second // with its wait for what the kernel executes
	// mostExpressions bounds the expressions of one execution.
	mostExpressions = 16
	// mostValues bounds the bytes of their values together.
	mostValues = 1 << 20
)

// look answers a request for completions and the like. The interpreter answers it between executions, since it has the
// variables. What it cannot answer has an empty answer: a client then shows nothing.
func (k *socket) look(ctx context.Context, m *message) error {
	var content struct {
		Code      string `json:"code"`
		CursorPos *int   `json:"cursor_pos"`
		Detail    int    `json:"detail_level"`
	}
	_ = json.Unmarshal(m.Content, &content) // zero values have an empty answer
	length := len([]rune(content.Code))
	pos := length
	if content.CursorPos != nil {
		pos = min(max(0, *content.CursorPos), length)
	}
	var empty fields
	switch m.typ {
	case "complete_request":
		empty = fields{"status": "ok", "matches": []any{}, "cursor_start": pos, "cursor_end": pos, "metadata": fields{}}
	case "inspect_request":
		empty = fields{"status": "ok", "found": false, "data": fields{}, "metadata": fields{}}
	default:
		empty = fields{"status": "unknown"}
	}
	if strings.TrimSpace(content.Code) == "" {
		if m.typ == "is_complete_request" {
			empty = fields{"status": "complete"}
		}
		return k.reply(m, empty)
	}
	if err := k.status(m, "busy"); err != nil {
		return err
	}
	answer := k.inside(ctx, fields{"do": strings.TrimSuffix(m.typ, "_request"), "code": content.Code, "pos": pos, "detail": content.Detail})
	if answer == nil {
		answer = empty
	}
	if err := k.respond(m, answer); err != nil {
		return err
	}
	return k.status(m, "idle")
}

// asksHelp matches a cell that asks for help about a name, as IPython takes it.
var asksHelp = regexp.MustCompile(`^\s*(?:\?{1,2}\s*([\pL_][\pL\pN_.]*)|([\pL_][\pL\pN_.]*)\s*\?{1,2})\s*$`)

// help is the payload for a cell that asks for help: clients show it in a pager. Two question marks ask for the source, too.
func (k *socket) help(ctx context.Context, m *message, name string, detail int) []any {
	answer := k.inside(ctx, fields{"do": "inspect", "code": name, "pos": len([]rune(name)), "detail": detail})
	if answer["found"] != true {
		_ = k.send(chanIOPub, "stream", m.Header, fields{"name": "stdout", "text": "Object `" + name + "` not found.\n"}) // the reply notices who is gone
		return []any{}
	}
	return []any{fields{"source": "page", "data": answer["data"], "start": 0}}
}

// inside has the interpreter answer a request of look.py; nil if it does not.
func (k *socket) inside(ctx context.Context, request fields) fields {
	rate, err := k.d.service.Allow(ctx, k.caller)
	if err == nil && !rate.Allowed {
		return nil
	}
	text, err := json.Marshal(request)
	if err != nil {
		return nil
	}
	mark := rand.Text()
	const builtins = `__import__("builtins")`
	code := `if ` + builtins + `.exec(` + packedLook() + `, {"names": ` + builtins + `.globals(), "request": ` +
		strconv.QuoteToASCII(string(text)) + `, "mark": "` + mark + `"}): pass`
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	ctx, release := job.HoldApart(ctx) // the socket lasts longer than the answer
	defer release()
	j, err := k.d.service.Execute(ctx, k.caller, service.Submission{Request: job.Request{Code: code, SessionID: k.session, Timeout: new(lookTime)}})
	if err != nil || j.Result == nil {
		return nil
	}
	_, rest, ok := strings.Cut(j.Result.Stdout, mark)
	if !ok {
		return nil
	}
	line, _, ok := strings.Cut(rest, mark)
	var answer fields
	if !ok || json.Unmarshal([]byte(line), &answer) != nil {
		return nil
	}
	return answer
}

// evaluate evaluates expressions after an execution.
func (k *socket) evaluate(ctx context.Context, expressions map[string]string) fields {
	values, n, room := fields{}, 0, mostValues
	for name, expression := range expressions {
		if n++; n > mostExpressions {
			values[name] = failure("ValueError", "an execution has at most 16 user_expressions")
			continue
		}
		apart, release := job.HoldApart(ctx)
		j, err := k.d.service.Execute(apart, k.caller, service.Submission{Request: job.Request{Code: "(" + expression + "\n)", SessionID: k.session}})
		release() // what is kept of it is bounded below
		switch {
		case err != nil:
			values[name] = k.failed(ctx, err)
		case j.Result.Error != nil:
			values[name] = failure(j.Result.Error.Name, j.Result.Error.Value)
		default:
			value := fields{"status": "ok", "data": fields{"text/plain": "None"}, "metadata": fields{}}
			for _, v := range j.Result.Results {
				if !v.Main {
					continue
				}
				for _, form := range v.Data {
					room -= len(form)
				}
				if value = formsOf(v); room < 0 {
					value = failure("ValueError", "the values of user_expressions have more than 1 MiB together")
					break
				}
				value["status"] = "ok"
			}
			values[name] = value
		}
	}
	return values
}
