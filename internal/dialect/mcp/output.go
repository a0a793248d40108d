package mcp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// mostImages and mostImageBytes bound the pictures in one result. The others are resources.
	mostImages     = 10
	mostImageBytes = 4 << 20
	mostLinks      = 20
	mostNotices    = 5
)

// rendering makes the content of a tool's result of the outputs of an execution.
type rendering struct {
	job        job.Job
	text       strings.Builder
	content    []sdk.Content
	links      []sdk.Content
	images     int
	imageBytes int
	cut        bool
}

// resultOf is the result of a tool that has executed something in a session; in none if that is empty.
func resultOf(s session, what job.Request, j job.Job) *sdk.CallToolResult {
	r := rendering{job: j}
	at := ""
	for _, o := range j.Result.Outputs {
		r.output(o, &at)
	}
	r.flush()
	r.bound()
	for _, f := range j.Result.Files {
		r.file(s, f)
	}
	for i, n := range j.Result.Notices {
		if i == mostNotices {
			break
		}
		r.line("note: " + n.Message)
	}
	if r.cut {
		r.line("The whole output is in the resource " + outputURI(j.ID) + ". Print less, or write to a file and read parts of it.")
		r.link(sdk.ResourceLink{URI: outputURI(j.ID), Name: "output", Description: "The whole output of this call.", MIMEType: "text/plain"})
	}
	r.line(summary(s, what, j))
	r.flush()
	return &sdk.CallToolResult{Content: append(r.content, r.links...), IsError: failedItself(what, j.Result)}
}

// failedItself reports whether a model should look at what went wrong. The exit code of a command is often only information.
func failedItself(what job.Request, r *job.Result) bool {
	if r.Status == job.StatusError || r.Status == job.StatusInterrupted {
		return true
	}
	code := 0
	if r.ExitCode != nil {
		code = *r.ExitCode
	}
	if what.Command != "" || what.Program != nil {
		return code >= 126 // not found, not executable, or ended by a signal
	}
	return code != 0
}

// output adds one entry of the outputs. at is the stream that the text is in.
func (r *rendering) output(o job.Output, at *string) {
	switch {
	case o.Value != nil:
		r.value(*o.Value)
		*at = ""
	case o.Error != nil:
		failed := *o.Error
		text := failed.Traceback
		if text == "" {
			text = failed.Name + ": " + failed.Value
		}
		r.line(plain(text))
		if failed.Hint != "" {
			r.line("hint: " + failed.Hint)
		}
	case o.Dropped > 0:
		r.text.WriteString(job.DroppedNote(o.Dropped))
	default:
		if o.Type != *at && o.Type == "stderr" {
			r.line("[stderr]")
		} else if o.Type != *at && *at != "" {
			r.line("[stdout]")
		}
		*at = o.Type
		r.text.WriteString(plain(o.Text))
	}
}

// line adds a text on lines of its own.
func (r *rendering) line(text string) {
	if r.text.Len() > 0 && !strings.HasSuffix(r.text.String(), "\n") {
		r.text.WriteByte('\n')
	}
	r.text.WriteString(text)
	if !strings.HasSuffix(text, "\n") {
		r.text.WriteByte('\n')
	}
}

// flush makes a content of the text so far.
func (r *rendering) flush() {
	if text := strings.TrimSuffix(r.text.String(), "\n"); strings.TrimSpace(text) != "" {
		r.content = append(r.content, &sdk.TextContent{Text: text})
	}
	r.text.Reset()
}

// bound cuts the texts so far if they are too long together: the longest ones, to equal parts.
func (r *rendering) bound() {
	var texts []*sdk.TextContent
	total := 0
	for _, c := range r.content {
		if t, ok := c.(*sdk.TextContent); ok {
			texts, total = append(texts, t), total+len(t.Text)
		}
	}
	if total <= mostText {
		return
	}
	for _, t := range texts {
		cut := false
		t.Text, cut = cutMiddle(t.Text, max(mostText/len(texts), 512))
		r.cut = r.cut || cut
	}
}

// value adds a value that the code showed, in the form that suits a model best.
func (r *rendering) value(v job.Value) {
	for _, kind := range pictureKinds() {
		if data, ok := bytesOf(v, kind); ok {
			r.image(kind, data)
			return
		}
	}
	if text, ok := tableOf(v); ok {
		r.line(text)
		return
	}
	for _, kind := range []string{"text/markdown", "text/plain", "text/latex", "image/svg+xml", "text/html"} {
		if text, ok := textOf(v, kind); ok && text != "" {
			r.line(plain(text))
			return
		}
	}
}

// pictureKinds are the media types of the pictures that models take.
func pictureKinds() []string { return []string{"image/png", "image/jpeg", "image/webp", "image/gif"} }

// isImage reports whether a value is shown as a picture.
func (*rendering) isImage(v job.Value) bool {
	for _, kind := range pictureKinds() {
		if v.Data[kind] != nil {
			return true
		}
	}
	return false
}

// image adds a picture.
func (r *rendering) image(kind string, data []byte) {
	r.images++
	if r.images > mostImages || r.imageBytes+len(data) > mostImageBytes {
		uri := imageURI(r.job.ID, r.images)
		r.line(fmt.Sprintf("[picture %d is left out here: %d bytes, resource %s]", r.images, len(data), uri))
		size := int64(len(data))
		r.link(sdk.ResourceLink{URI: uri, Name: fmt.Sprintf("picture %d", r.images), MIMEType: kind, Size: &size})
		return
	}
	r.imageBytes += len(data)
	r.flush()
	r.content = append(r.content, &sdk.ImageContent{Data: data, MIMEType: kind})
}

// file names a file that the execution left. In a session it is there for read_file.
func (r *rendering) file(s session, f job.File) {
	text := fmt.Sprintf("file: %s (%d bytes)", plain(f.Path), f.Size)
	if s.id == "" && !f.Escaped {
		uri, size := fileURI(r.job.ID, f.Path), f.Size
		text += ", resource " + uri
		r.link(sdk.ResourceLink{URI: uri, Name: plain(f.Path), MIMEType: f.Type, Size: &size})
	}
	if len(r.links) <= mostLinks {
		r.line(text)
	}
}

// link adds a link to a resource.
func (r *rendering) link(l sdk.ResourceLink) {
	if len(r.links) < mostLinks {
		r.links = append(r.links, &l)
	}
}

// textOf returns a form of a value that is a text.
func textOf(v job.Value, kind string) (text string, ok bool) {
	data, ok := v.Data[kind]
	return text, ok && json.Unmarshal(data, &text) == nil
}

// bytesOf returns a form of a value that is of bytes.
func bytesOf(v job.Value, kind string) ([]byte, bool) {
	text, ok := textOf(v, kind)
	if !ok {
		return nil, false
	}
	data, err := base64.StdEncoding.DecodeString(text)
	return data, err == nil && len(data) > 0
}

// summary is the line at the end of a result.
func summary(s session, what job.Request, j job.Job) string {
	var parts []string
	switch {
	case s.id == "":
		parts = append(parts, "fresh sandbox, nothing is kept")
	case s.made:
		parts = append(parts, "session "+s.label()+" (new)")
	default:
		parts = append(parts, "session "+s.label())
	}
	result := j.Result
	switch {
	case result.Status == job.StatusInterrupted:
		parts = append(parts, "interrupted")
	case result.Signal != "":
		parts = append(parts, "ended by "+result.Signal)
	case result.ExitCode != nil && (what.Command != "" || *result.ExitCode != 0):
		parts = append(parts, fmt.Sprintf("exit code %d", *result.ExitCode))
	}
	took := fmt.Sprintf("%.0f ms", result.DurationMs)
	if result.DurationMs >= 1000 {
		took = fmt.Sprintf("%.1f s", result.DurationMs/1000)
	}
	parts = append(parts, took)
	text := "[" + strings.Join(parts, ", ") + "]"
	if after := result.Session; after != nil {
		text += afterwards(*after)
	}
	return text
}
