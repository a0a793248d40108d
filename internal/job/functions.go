package job

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"
)

// Function is a function that a caller offers to executed code. The code calls it as a Python
// function, and the caller answers the call.
type Function struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"` // JSON Schema of its arguments; an object
}

// The bounds of the functions of a request.
const (
	MaxFunctions      = 128
	MaxFunctionsBytes = 256 << 10 // names, descriptions and schemas of all together
	// MaxCallBytes is the largest size of the arguments of one call, and of its answer. An event
	// and a message have one of them.
	MaxCallBytes = 512 << 10
	// MaxOpenCallBytes bounds the arguments of the calls that are open at once. It is well below
	// the bytes of events that wait for Redis.
	MaxOpenCallBytes = 2 << 20
	// MaxCallDepth bounds the nesting of arguments and answers.
	MaxCallDepth = 100
)

// functionName is a Python identifier of ASCII that does not begin with two underscores.
var functionName = regexp.MustCompile(`^_?[A-Za-z][A-Za-z0-9_]{0,63}$`)

// CallErrorName is the Python class of the errors of calls. The code finds it beside the functions.
const CallErrorName = "CallError"

// pythonKeywords are the names that Python code cannot call.
var pythonKeywords = []string{ //nolint:gochecknoglobals // a constant
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
	"except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
	"return", "try", "while", "with", "yield",
}

// codeOfFunctions is what a runner of an earlier release executes instead of code with functions,
// which it does not know.
const codeOfFunctions = `raise NotImplementedError("the runner that took this is of an earlier release of Kaa, where code cannot call functions of its caller; update it and send the code again")`

// functions checks the functions that a request offers.
func (r *Request) functions(v *validation) []Function {
	if len(r.Functions) == 0 {
		return nil
	}
	if len(r.Functions) > MaxFunctions {
		v.add("functions", "has %d functions, the limit is %d", len(r.Functions), MaxFunctions)
		return nil
	}
	if r.Command != "" || len(r.Program) > 0 {
		v.add("functions", "are for code; a command cannot call them")
	}
	if !r.Followed {
		v.add("functions", "cannot be called here, because the caller would see no calls before the end; ask for events (Accept: text/event-stream), submit a job with POST /v1/jobs, or use the WebSocket of a session")
	}
	size := 0
	known := make(map[string]bool, len(r.Functions))
	for i, f := range r.Functions {
		field := fmt.Sprintf("functions[%d]", i)
		switch {
		case !functionName.MatchString(f.Name):
			v.add(field+".name", "%s is not the name of a Python function here; use letters of ASCII, digits and underscores, not starting with a digit or two underscores, at most 64", quote(f.Name))
		case slices.Contains(pythonKeywords, f.Name) || f.Name == CallErrorName:
			v.add(field+".name", "%s has another meaning in the code; choose another name", quote(f.Name))
		case known[f.Name]:
			v.add(field+".name", "%s is offered twice; remove one", quote(f.Name))
		}
		known[f.Name] = true
		if !utf8.ValidString(f.Description) {
			v.add(field+".description", "is not valid UTF-8")
		}
		f.Schema = bytes.TrimSpace(f.Schema)
		if string(f.Schema) == "null" {
			f.Schema = nil
		}
		if len(f.Schema) > 0 && (f.Schema[0] != '{' || !json.Valid(f.Schema) || !Shallow(f.Schema)) {
			v.add(field+".schema", "must be a JSON Schema: an object, nested at most %d deep", MaxCallDepth)
		}
		r.Functions[i].Schema = f.Schema
		size += len(f.Name) + len(f.Description) + len(f.Schema)
	}
	if size > MaxFunctionsBytes {
		v.add("functions", "is %d bytes long in all, the limit is %d", size, MaxFunctionsBytes)
	}
	return r.Functions
}

// Shallow reports whether valid JSON is nested at most MaxCallDepth deep.
func Shallow(text []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > MaxCallDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// CallLimits are the budgets of an execution's calls.
type CallLimits struct {
	Calls  int
	Bytes  int64 // of the arguments and answers of all calls
	Time   time.Duration
	AtOnce int
}

// CallLimits returns the budgets of calls. Records of earlier versions have none, and get the
// usual ones.
func (q Quota) CallLimits() CallLimits {
	std := StandardQuota()
	return CallLimits{
		Calls: cmp.Or(q.Calls, std.Calls), Bytes: cmp.Or(q.CallBytes, std.CallBytes),
		Time: cmp.Or(q.CallTime, std.CallTime), AtOnce: cmp.Or(q.CallsAtOnce, std.CallsAtOnce),
	}
}

// withoutCalls returns q without the limits of calls, which nothing needs without functions.
func (q Quota) withoutCalls() Quota {
	q.Calls, q.CallBytes, q.CallTime, q.CallsAtOnce = 0, 0, 0, 0
	return q
}

// CallData is the data of a call that the code makes.
type CallData struct {
	Type EventType `json:"type"`
	ID   string    `json:"callId"` // unique in the job; the store's script reads it from the beginning of the JSON
	Name string    `json:"name"`
	// Arguments are those with a name, Positional the others. There are others only if the
	// function's schema has no names.
	Arguments  json.RawMessage `json:"arguments"`
	Positional json.RawMessage `json:"positional,omitempty"`
}

// CallEndData is the data of the end of a call that was not answered.
type CallEndData struct {
	Type   EventType `json:"type"`
	ID     string    `json:"callId"`
	Reason string    `json:"reason"` // timeout: it took too long; cancelled: the code does not wait for it any more
}

// CallID is the id of the nth call of an attempt.
func CallID(attempt, n int) string { return fmt.Sprintf("%d-%d", attempt, n) }

// Reply is the answer to a call: JSON of an object with value or error.
type Reply struct {
	JobID string
	Call  string
	Text  string
}

// CallFailure is an error that a call raises in the code.
type CallFailure struct {
	Name    string `json:"name,omitempty"`
	Message string `json:"message"`
}

// maxFailureName is in bytes.
const maxFailureName = 128

// NewReply checks the answer to a call. A nil failure means that value is what the call returns.
func NewReply(jobID, call string, value json.RawMessage, failure *CallFailure) (Reply, error) {
	var v validation
	value = bytes.TrimSpace(value)
	var text []byte
	switch {
	case (failure == nil) == (len(value) == 0):
		v.add("value", "send either value or error; value may be null")
	case failure != nil:
		if len(failure.Name) > maxFailureName {
			v.add("error.name", "is %d bytes long, the limit is %d", len(failure.Name), maxFailureName)
		}
		text, _ = json.Marshal(map[string]*CallFailure{"error": failure}) //nolint:errchkjson // two strings
	case !json.Valid(value) || !utf8.Valid(value):
		v.add("value", "must be JSON in UTF-8")
	case !Shallow(value):
		v.add("value", "is nested deeper than %d", MaxCallDepth)
	default:
		text = slices.Concat([]byte(`{"value":`), value, []byte("}"))
	}
	if len(text) > MaxCallBytes {
		v.add("value", "is %d bytes long, the limit is %d; answer with a part, or put a file into the session", len(text), MaxCallBytes)
	}
	if len(v.fields) > 0 {
		return Reply{}, &ValidationError{Fields: v.fields}
	}
	return Reply{JobID: jobID, Call: call, Text: string(text)}, nil
}

// ErrNoCall means that the job has no open call with that id: it was answered, has ended, or was never made.
var ErrNoCall = errors.New("no such call is open")
