package job_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func TestAcceptCommand(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		request job.Request
		fields  []string // that are refused
		want    job.Command
	}{
		"a line":                     {request: job.Request{Command: "ls | wc -l", Cwd: "sub"}, want: job.Command{Line: "ls | wc -l", Cwd: "sub"}},
		"a program":                  {request: job.Request{Program: []string{"ls", "", "-l"}}, want: job.Command{Argv: []string{"ls", "", "-l"}}},
		"both":                       {request: job.Request{Command: "ls", Program: []string{"ls"}}, fields: []string{"argv"}},
		"code, too":                  {request: job.Request{Command: "ls", Code: "1"}, fields: []string{"code"}},
		"none":                       {fields: []string{"code"}},
		"a directory of code":        {request: job.Request{Code: "1", Cwd: "/t\x00mp"}, fields: []string{"cwd"}},
		"options of code":            {request: job.Request{Command: "ls", Argv: []string{"a"}, Options: job.Options{FigureFormats: []string{"png"}}}, fields: []string{"args", "figureFormats"}},
		"a context":                  {request: job.Request{Command: "ls", SessionID: "s", ContextID: "c"}, fields: []string{"contextId"}},
		"blank":                      {request: job.Request{Command: " \n"}, fields: []string{"command"}},
		"a long line":                {request: job.Request{Command: strings.Repeat("x", 128<<10)}, fields: []string{"command"}},
		"no name":                    {request: job.Request{Program: []string{"", "a"}}, fields: []string{"argv[0]"}},
		"zeros":                      {request: job.Request{Program: []string{"a", "\x00"}, Cwd: "\x00"}, fields: []string{"argv[1]", "cwd"}},
		"a zero in a line":           {request: job.Request{Command: "a\x00"}, fields: []string{"command"}},
		"many arguments":             {request: job.Request{Program: make([]string, 1001)}, fields: []string{"argv[0]", "argv"}},
		"many bytes in them":         {request: job.Request{Program: []string{strings.Repeat("x", 1<<20)}}, fields: []string{"argv"}},
		"a long path of a directory": {request: job.Request{Command: "ls", Cwd: strings.Repeat("x", 5000)}, fields: []string{"cwd"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := limits().Accept(tt.request, now)
			if len(tt.fields) == 0 {
				if err != nil || n.Spec.Command == nil || !cmp.Equal(*n.Spec.Command, tt.want) || !strings.Contains(n.Spec.Code, "earlier release") {
					t.Fatalf("%+v, %v", n.Spec, err)
				}
				return
			}
			bad, ok := errors.AsType[*job.ValidationError](err)
			if !ok {
				t.Fatalf("accepted, or %v", err)
			}
			var fields []string
			for _, f := range bad.Fields {
				fields = append(fields, f.Field)
			}
			if !cmp.Equal(fields, tt.fields) {
				t.Errorf("refused %v, want %v: %v", fields, tt.fields, err)
			}
		})
	}
}
