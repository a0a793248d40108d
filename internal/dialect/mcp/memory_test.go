package mcp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/dialect/mcp"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// counted is the dialect with a memory of answers that gets nothing back, so a test sees what a request has held.
type counted struct {
	*mcp.Dialect
	memory *job.Memory
}

func (c counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.Dialect.ServeHTTP(w, r.WithContext(c.memory.For("test").In(r.Context())))
}

// TestMemoryOfAnswers: large pictures, files and outputs count in the memory of answers while they are answered; small ones do not.
func TestMemoryOfAnswers(t *testing.T) {
	t.Parallel()
	memory := job.NewMemory(1 << 50)
	url := startWith(t, []app.Dialect{{Name: "counted", New: func(p dialect.Parts) door.Dialect { return counted{mcp.New(p), memory} }}}, testenv.SystemPython())
	s := connectAt(t, url+"/counted", "one", "", nil)
	const size = 300_000
	code := fmt.Sprintf(`
open('a.png', 'wb').write(b'\x89PNG\r\n\x1a\n' + bytes(%d))
open('a.txt', 'w').write('x' * %[1]d)
open('control.txt', 'w').write('\x01' * %[1]d)
open('small.txt', 'w').write('small')
`, size)
	use(t, s, "run_code", args{"session": "memory", "code": code})
	uris := map[string]string{}
	for _, run := range []string{code, "print('<' * 100_000)"} {
		_, left := use(t, s, "run_code_fresh", args{"code": run})
		for _, c := range left.Content {
			if link, ok := c.(*sdk.ResourceLink); ok {
				uris[link.Name] = link.URI
			}
		}
	}
	read := func(name string) func() *sdk.ResourceContents {
		return func() *sdk.ResourceContents {
			r, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uris[name]})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return r.Contents[0]
		}
	}
	tool := func(path string) func() *sdk.ResourceContents {
		return func() *sdk.ResourceContents {
			_, r := use(t, s, "read_file", args{"session": "memory", "path": path})
			if image, ok := r.Content[0].(*sdk.ImageContent); ok {
				return &sdk.ResourceContents{Blob: image.Data}
			}
			return &sdk.ResourceContents{Text: textOf(r)}
		}
	}
	for _, tt := range []struct {
		name        string
		do          func() *sdk.ResourceContents
		text        bool
		least, most int64
	}{
		{"a picture of a session", tool("a.png"), false, 8 * size, 9 * size},
		{"a part of a text of a session", tool("a.txt"), true, 0, 0},
		{"a picture that is left", read("a.png"), false, 8 * size, 9 * size},
		{"a text that is left", read("a.txt"), true, 8 * size, 9 * size},
		{"a text that JSON makes six times as long", read("control.txt"), false, 8 * size, 9 * size},
		{"a small file", read("small.txt"), true, 0, 0},
		{"an output of characters that JSON makes longer", read("output"), true, 24 * 100_000, 25 * 100_000},
	} {
		before := memory.Held()
		got := tt.do()
		if (got.Text != "") != tt.text || (len(got.Blob) > 0) == tt.text {
			t.Errorf("%s: %d bytes of text, %d others", tt.name, len(got.Text), len(got.Blob))
		}
		if held := memory.Held() - before; held < tt.least || held > tt.most {
			t.Errorf("%s held %d bytes, want %d to %d", tt.name, held, tt.least, tt.most)
		}
	}
	if !strings.Contains(read("output")().Text, strings.Repeat("<", 1000)) {
		t.Error("the output is not whole")
	}
}
