package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// FSFileBody is a file that a request writes by its absolute path.
type FSFileBody struct {
	Path          string  `json:"path" minLength:"1" maxLength:"4096" doc:"Absolute path, or a path below the working directory." example:"/tmp/in.csv"`
	Content       *string `json:"content,omitempty" nullable:"true" doc:"Its content, if that is text. This or contentBase64."`
	ContentBase64 *string `json:"contentBase64,omitempty" nullable:"true" doc:"Its content, in standard base64 with padding."`
	Mode          string  `json:"mode,omitempty" maxLength:"5" pattern:"^0?[0-7]{3}$" doc:"Permissions as octal digits, in place of those of the query."`
}

// FSFilesBody is the request that writes several files.
type FSFilesBody struct {
	Files []FSFileBody `json:"files" nullable:"false" minItems:"1" doc:"At most 100 files unless configured otherwise."`
}

type fsWriteManyInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Mode string `query:"mode" maxLength:"5" pattern:"^0?[0-7]{3}$" doc:"Permissions as octal digits. Default: those of the file that is replaced, or 0644."`
	// The document says that these are texts, and clients are generated from it.
	Replace string `query:"replace" enum:"true,false" default:"true" doc:"Whether existing files are replaced."`
	Parents string `query:"parents" enum:"true,false" default:"true" doc:"Whether missing directories are made."`
	Body    *FSFilesBody
}

type fsEntriesOutput struct {
	Body struct {
		Entries []job.Entry `json:"entries" nullable:"false" doc:"The files that were written, in the order of the request."`
	}
}

func (s *server) registerWriteMany(op huma.Operation) {
	register(s, op, s.writeContents)
	s.api.OpenAPI().Paths[fsPath+fsContent].Post.RequestBody = &huma.RequestBody{ // not required: a form has no JSON
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[FSFilesBody](), true, "")},
			multipartForm: {Schema: &huma.Schema{
				Type: huma.TypeObject, Required: []string{filesPart}, Properties: map[string]*huma.Schema{filesPart: filesSchema()},
			}},
		},
	}
}

// writeContents writes the files of a form or of a JSON body, one after the other. Those before one that is refused
// stay.
func (s *server) writeContents(ctx context.Context, in *fsWriteManyInput) (*fsEntriesOutput, error) {
	files, err := s.contentsOf(ctx, in)
	if err != nil {
		return nil, err
	}
	out := new(fsEntriesOutput)
	out.Body.Entries = make([]job.Entry, 0, len(files))
	for _, f := range files {
		a, err := s.cfg.Service.WriteSessionFS(ctx, service.CallerOf(ctx), in.ID,
			job.FSRequest{Do: job.FSWrite, Path: []byte(f.path), Mode: modeOf(f.mode), Replace: in.Replace != "false", Parents: in.Parents != "false"}, bytes.NewReader(f.content))
		if err != nil {
			return nil, err
		}
		out.Body.Entries = append(out.Body.Entries, a.Entry)
	}
	return out, nil
}

// content is a file that is to be written.
type content struct {
	path, mode string
	content    []byte
}

// contentsOf returns the files of a request, all of which have a content.
func (s *server) contentsOf(ctx context.Context, in *fsWriteManyInput) ([]content, error) {
	var files []content
	for i, f := range uploadsOf(ctx) {
		if f.Path == "" {
			return nil, fileIssue(i, "path", "is missing; give each part files a filename, which is its path")
		}
		files = append(files, content{f.Path, in.Mode, f.Data})
	}
	if in.Body == nil && len(files) == 0 {
		return nil, newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
			"send JSON with files, or a form (Content-Type: multipart/form-data) with parts files, the filename of each being its path")
	}
	if in.Body == nil {
		return files, nil
	}
	if most := s.cfg.Service.Limits().MaxInputs; len(in.Body.Files) > most {
		msg := fmt.Sprintf("has more than %d files, which is the limit", most)
		return nil, badRequest("body.files: "+msg, FieldIssue{"body.files", msg})
	}
	for i, f := range in.Body.Files {
		c := content{path: f.Path, mode: in.Mode, content: []byte(value(f.Content))}
		if f.Mode != "" {
			c.mode = f.Mode
		}
		switch {
		case (f.Content == nil) == (f.ContentBase64 == nil):
			return nil, fileIssue(i, "content", "needs exactly one of content and contentBase64")
		case f.ContentBase64 != nil:
			var err error
			if c.content, err = base64.StdEncoding.DecodeString(*f.ContentBase64); err != nil {
				return nil, fileIssue(i, "contentBase64", "is not base64 with padding")
			}
		}
		files = append(files, c)
	}
	return files, nil
}

func fileIssue(i int, field, msg string) *Problem {
	location := fmt.Sprintf("body.files[%d].%s", i, field)
	return badRequest(location+": "+msg, FieldIssue{location, msg})
}
