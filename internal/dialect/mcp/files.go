package mcp

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const pathText = "Absolute path, such as /work/data.csv or /tmp/a, or a path below the working directory."

type listFilesInput struct {
	Session string `json:"session"`
	Path    string `json:"path,omitempty"`
	Depth   *int   `json:"depth,omitempty"`
}

type readFileInput struct {
	Session string `json:"session"`
	Path    string `json:"path"`
	Offset  *int64 `json:"offset,omitempty"`
	Length  *int64 `json:"length,omitempty"`
}

type writeFileInput struct {
	Session       string  `json:"session"`
	Path          string  `json:"path"`
	Content       *string `json:"content,omitempty"`
	ContentBase64 *string `json:"content_base64,omitempty"`
}

type searchFilesInput struct {
	Session string `json:"session"`
	Text    string `json:"text,omitempty"`
	Name    string `json:"name,omitempty"`
	Path    string `json:"path,omitempty"`
}

func (d *Dialect) addFileTools() {
	addTool(d, tool[listFilesInput]{
		name: "list_files", title: "List files of a session", hints: reads,
		description: "List the files below a directory of a session, with their types and sizes.",
		adjust: func(s *jsonschema.Schema) {
			describe(map[string]string{"path": "The directory. " + pathText + " Default: the working directory.", "depth": "Levels below it. Default 1."})(s)
			least, most := 1.0, float64(mostDepth)
			s.Properties["depth"].Minimum, s.Properties["depth"].Maximum = &least, &most
		},
		run: d.listFiles,
	})
	addTool(d, tool[readFileInput]{
		name: "read_file", title: "Read a file of a session", hints: reads,
		description: "Read a file of a session: text as text, a picture as a picture, other bytes as base64. Of a long text a part is returned, with the offset of the next one.",
		adjust: func(s *jsonschema.Schema) {
			describe(map[string]string{"path": pathText, "offset": "First byte. Default 0; a negative one counts from the end.", "length": fmt.Sprintf("Bytes at most. Default %d.", mostText)})(s)
			least := 1.0
			s.Properties["length"].Minimum = &least
		},
		run: d.readFile,
	})
	addTool(d, tool[writeFileInput]{
		name: "write_file", title: "Write a file in a session", hints: idempotent,
		description: "Write a file in a session. An existing file is replaced, and missing directories are made. A new name opens a session. Give content or content_base64.",
		adjust: describe(map[string]string{
			"path": pathText, "content": "The file as text.", "content_base64": "The file as base64, if it is not text.",
		}),
		run: d.writeFile,
	})
	addTool(d, tool[searchFilesInput]{
		name: "search_files", title: "Search files of a session", hints: reads,
		description: "Find lines of files of a session that match a regular expression, or files by name. Give text, name, or both.",
		adjust: describe(map[string]string{
			"text": "Extended regular expression (grep -E) to find in lines of text files.",
			"name": "Pattern of file names, such as *.csv.",
			"path": "Directory in which to search. " + pathText + " Default: the working directory.",
		}),
		run: d.searchFiles,
	})
}

const (
	mostDepth   = 200
	mostEntries = 300
)

func (d *Dialect) listFiles(ctx context.Context, r request, in listFilesInput) (*sdk.CallToolResult, error) {
	depth, path := 1, in.Path
	if in.Depth != nil {
		depth = *in.Depth
	}
	if depth < 1 || depth > mostDepth {
		return nil, &argumentError{fmt.Sprintf("the argument depth must be from 1 to %d", mostDepth)}
	}
	if path == "" {
		path = "."
	}
	s, err := d.atPath(ctx, r, in.Session, path)
	if err != nil {
		return nil, err
	}
	a, err := d.Service.SessionFS(ctx, r.caller, s.id, job.FSRequest{Do: job.FSList, Path: []byte(path), Depth: depth, Limit: mostEntries})
	if err != nil {
		return nil, err
	}
	if len(a.Entries.Entries) == 0 {
		return said("%s is empty.", path), nil
	}
	var b strings.Builder
	for _, e := range a.Entries.Entries {
		b.WriteString(entryText(e) + "\n")
	}
	if a.Entries.More || a.Entries.Incomplete {
		b.WriteString("There is more; list a directory further down, or search_files.\n")
	}
	text, _ := cutMiddle(b.String(), mostText)
	return said("%s", text), nil
}

// entryText describes an entry in a line.
func entryText(e job.Entry) string {
	path := plain(strings.ReplaceAll(e.Path, "\n", " "))
	switch e.Type {
	case job.EntryFile:
		return fmt.Sprintf("%s (%d bytes, %s)", path, e.Size, clock(e.Modified))
	case job.EntryDirectory:
		return path + "/"
	case job.EntryLink:
		return path + " -> " + plain(strings.ReplaceAll(e.Target, "\n", " "))
	}
	return path + " (" + e.Type + ")"
}

// atPath returns a session that a call names, and refuses a path that no session has.
func (d *Dialect) atPath(ctx context.Context, r request, named, path string) (session, error) {
	if !job.ValidAbsolute(path) {
		return session{}, &argumentError{"the argument path must be a path of at most 4,095 bytes, without a zero byte"}
	}
	return d.find(ctx, r.caller, named)
}

func (d *Dialect) readFile(ctx context.Context, r request, in readFileInput) (*sdk.CallToolResult, error) {
	s, err := d.atPath(ctx, r, in.Session, in.Path)
	if err != nil {
		return nil, err
	}
	// Pictures are read whole, so more is asked for than a text may have.
	ask := job.FSRequest{Do: job.FSRead, Path: []byte(in.Path), Length: mostImageBytes}
	most := int64(mostText)
	if in.Length != nil {
		most = min(*in.Length, most)
		if most < 1 {
			return nil, &argumentError{"the argument length must be at least 1"}
		}
	}
	if in.Offset != nil || in.Length != nil {
		ask.Length = most
	}
	if in.Offset != nil {
		ask.Offset = *in.Offset
	}
	a, content, err := d.Service.ReadSessionFS(ctx, r.caller, s.id, ask)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	kind, _, _ := strings.Cut(a.Type, ";")
	picture := a.Offset == 0 && a.Length == a.Entry.Size && slices.Contains(pictureKinds(), kind)
	if picture {
		most = mostImageBytes
	}
	if err := holdAnswer(ctx, min(a.Length, most)); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(content, most))
	if err != nil {
		return nil, fmt.Errorf("read the content of a file: %w", err)
	}
	if picture && int64(len(data)) == a.Entry.Size {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.ImageContent{Data: data, MIMEType: kind}}}, nil
	}
	return partOf(a, data), nil
}

// partOf is a part of a file as a text, or as base64 if it is none.
func partOf(a job.FSAnswer, data []byte) *sdk.CallToolResult {
	end, size := a.Offset+int64(len(data)), a.Entry.Size
	text, note := string(data), ""
	if cut := lastRune(data); end < size && cut > 0 && utf8.Valid(data[:cut]) {
		text, end = string(data[:cut]), a.Offset+int64(cut)
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		text, note = base64.StdEncoding.EncodeToString(data), "as base64, "
		end = a.Offset + int64(len(data))
	}
	switch {
	case end < size:
		note = fmt.Sprintf("[%sbytes %d to %d of %d; go on with offset %d]", note, a.Offset, end, size, end)
	case note != "" || a.Offset > 0:
		note = fmt.Sprintf("[%sbytes %d to %d of %d]", note, a.Offset, end, size)
	case size == 0:
		note = "[the file is empty]"
	}
	result := &sdk.CallToolResult{}
	if text != "" {
		result.Content = append(result.Content, &sdk.TextContent{Text: text})
	}
	if note != "" {
		result.Content = append(result.Content, &sdk.TextContent{Text: note})
	}
	return result
}

// lastRune is the length of a text without a character at its end that is not whole.
func lastRune(data []byte) int {
	for n := len(data) - 1; n >= 0 && n >= len(data)-utf8.UTFMax; n-- {
		if utf8.RuneStart(data[n]) {
			if utf8.FullRune(data[n:]) {
				return len(data)
			}
			return n
		}
	}
	return len(data)
}

func (d *Dialect) writeFile(ctx context.Context, r request, in writeFileInput) (*sdk.CallToolResult, error) {
	if (in.Content == nil) == (in.ContentBase64 == nil) {
		return nil, &argumentError{"give one of the arguments content and content_base64"}
	}
	if !job.ValidAbsolute(in.Path) {
		return nil, &argumentError{"the argument path must be a path of at most 4,095 bytes, without a zero byte"}
	}
	content := ""
	if in.Content != nil {
		content = *in.Content
	} else {
		data, err := base64.StdEncoding.DecodeString(*in.ContentBase64)
		if err != nil {
			return nil, &argumentError{"the argument content_base64 is not base64"}
		}
		content = string(data)
	}
	s, err := d.ensure(ctx, r.caller, in.Session, nil, nil)
	if err != nil {
		return nil, err
	}
	a, err := d.Service.WriteSessionFS(ctx, r.caller, s.id, job.FSRequest{Do: job.FSWrite, Path: []byte(in.Path), Replace: true, Parents: true}, strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	return said("Wrote %d bytes to %s in session %s.", a.Entry.Size, plain(a.Entry.Path), s.label()), nil
}

func (d *Dialect) searchFiles(ctx context.Context, r request, in searchFilesInput) (*sdk.CallToolResult, error) {
	if in.Text == "" && in.Name == "" {
		return nil, &argumentError{"give the argument text, to find lines, or name, to find files, or both"}
	}
	path := in.Path
	if path == "" {
		path = "."
	}
	s, err := d.atPath(ctx, r, in.Session, path)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(path[:1], "-!(),") { // find would take it for a part of an expression
		path = "./" + path
	}
	// The words are arguments of a program: no shell reads them.
	program := []string{"find", path, "-name", in.Name}
	if in.Text != "" {
		program = []string{"grep", "-rnIE", "--max-count=100", "-e", in.Text}
		if in.Name != "" {
			program = append(program, "--include="+in.Name)
		}
		program = append(program, "--", path)
	}
	j, err := d.Service.Execute(ctx, r.caller, service.Submission{Request: job.Request{SessionID: s.id, Program: program}})
	if err != nil {
		return nil, err
	}
	return foundBy(program[0], j.Result), nil
}

// foundBy is the result of a search.
func foundBy(program string, r *job.Result) *sdk.CallToolResult {
	code := -1
	if r.ExitCode != nil {
		code = *r.ExitCode
	}
	text, cut := cutMiddle(plain(r.Stdout), mostText)
	switch {
	case r.Status == job.StatusInterrupted:
		return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: "the search took too long; give a path, or a name"}}}
	case code == 127:
		return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: "this runtime has no " + program + "; search with run_code"}}}
	case text == "" && (code == 0 || code == 1 && r.Stderr == ""):
		text = "Nothing was found."
	case text == "":
		return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: clip(plain(r.Stderr), 2000)}}}
	case cut:
		text += "\n[There is more; search more narrowly.]"
	}
	return said("%s", text)
}
