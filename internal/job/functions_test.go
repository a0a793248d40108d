package job_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// complaints returns the fields of a ValidationError with their messages.
func complaints(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	invalid, ok := errors.AsType[*job.ValidationError](err)
	if !ok {
		t.Fatal(err)
	}
	var all []string
	for _, f := range invalid.Fields {
		all = append(all, f.Field+" "+f.Message)
	}
	return strings.Join(all, "\n")
}

func TestAcceptFunctions(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101)
	for _, tt := range []struct {
		name, functions, want string
		alone                 bool // nobody follows
	}{
		{name: "all fields", functions: `[{"name": "search", "description": "Finds pages.", "schema": {"properties": {"q": {}}}}, {"name": "_x9"}]`},
		{name: "a schema of null", functions: `[{"name": "f", "schema": null}]`},
		{name: "none", functions: `[]`, alone: true},
		{name: "alone", functions: `[{"name": "f"}]`, alone: true, want: "functions cannot be called here"},
		{name: "no identifier", functions: `[{"name": "get-page"}]`, want: `functions[0].name "get-page" is not the name of a Python function`},
		{name: "no name", functions: `[{}]`, want: "functions[0].name"},
		{name: "a long name", functions: `[{"name": "` + strings.Repeat("x", 66) + `"}]`, want: "functions[0].name"},
		{name: "another alphabet", functions: `[{"name": "größe"}]`, want: "functions[0].name"},
		{name: "dunder", functions: `[{"name": "__builtins__"}]`, want: "functions[0].name"},
		{name: "a keyword", functions: `[{"name": "f"}, {"name": "import"}]`, want: `functions[1].name "import" has another meaning`},
		{name: "the class of errors", functions: `[{"name": "CallError"}]`, want: "another meaning"},
		{name: "twice", functions: `[{"name": "f"}, {"name": "f"}]`, want: "functions[1].name \"f\" is offered twice"},
		{name: "a schema that is none", functions: `[{"name": "f", "schema": [1]}]`, want: "functions[0].schema must be"},
		{name: "a deep schema", functions: `[{"name": "f", "schema": ` + deep + `}]`, want: "functions[0].schema must be"},
		{name: "too many", functions: `[` + strings.Repeat(`{"name": "f"},`, 128) + `{"name": "g"}]`, want: "functions has 129 functions, the limit is 128"},
		{name: "too large", functions: `[{"name": "f", "description": "` + strings.Repeat("x", 256<<10) + `"}]`, want: "functions is 262145 bytes long"},
	} {
		var functions []job.Function
		if err := json.Unmarshal([]byte(tt.functions), &functions); err != nil {
			t.Fatal(err)
		}
		n, err := limits().Accept(job.Request{Code: "1", Functions: functions, Followed: !tt.alone}, time.Now())
		if got := complaints(t, err); (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) && !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if err == nil && (n.Events != (len(functions) > 0) || len(n.Spec.Functions) != len(functions)) {
			t.Errorf("%s: %+v", tt.name, n)
		}
	}
}

func TestNewReply(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 101) + strings.Repeat("]", 101)
	for _, tt := range []struct {
		name, value string
		failure     *job.CallFailure
		text, want  string
	}{
		{name: "a value", value: ` {"a": [1, "\ud800", 1e999]} `, text: `{"value":{"a": [1, "\ud800", 1e999]}}`},
		{name: "null", value: "null", text: `{"value":null}`},
		{name: "an error", failure: &job.CallFailure{Name: "KeyError", Message: "no"}, text: `{"error":{"name":"KeyError","message":"no"}}`},
		{name: "an error without a name", failure: &job.CallFailure{}, text: `{"error":{"message":""}}`},
		{name: "nothing", want: "value send either value or error"},
		{name: "both", value: "1", failure: &job.CallFailure{}, want: "value send either value or error"},
		{name: "no JSON", value: "{", want: "value must be JSON"},
		{name: "no UTF-8", value: "\"\xff\"", want: "value must be JSON"},
		{name: "deep", value: deep, want: "value is nested deeper than 100"},
		{name: "large", value: `"` + strings.Repeat("x", job.MaxCallBytes) + `"`, want: "value is 524300 bytes long, the limit is 524288"},
		{name: "a large error", failure: &job.CallFailure{Message: strings.Repeat("x", job.MaxCallBytes)}, want: "value is 5243"},
		{name: "a long name", failure: &job.CallFailure{Name: strings.Repeat("x", 129)}, want: "error.name is 129 bytes long"},
	} {
		p, err := job.NewReply("j", "1-2", json.RawMessage(tt.value), tt.failure)
		if got := complaints(t, err); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if diff := cmp.Diff(job.Reply{JobID: "j", Call: "1-2", Text: tt.text}, p); err == nil && diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

// TestCallLimits: records of earlier versions have no limits of calls, and get the usual ones.
func TestCallLimits(t *testing.T) {
	t.Parallel()
	if got, want := (job.Quota{}).CallLimits(), (job.CallLimits{Calls: 1000, Bytes: 16 << 20, Time: time.Minute, AtOnce: 32}); got != want {
		t.Errorf("%+v", got)
	}
	own := job.CallLimits{Calls: 1, Bytes: 2, Time: 3, AtOnce: 4}
	if got := (job.Quota{Calls: 1, CallBytes: 2, CallTime: 3, CallsAtOnce: 4}).CallLimits(); got != own {
		t.Errorf("%+v", got)
	}
}
