package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	sessionFilesPath = "/v1/sessions/{id}/files"
	sessionFilePath  = "/v1/sessions/{id}/files/{path}"
)

// SessionFileView is a file of a session as a listing shows it.
type SessionFileView struct {
	Path     string     `json:"path" doc:"Its path below the working directory."`
	Escaped  bool       `json:"escaped,omitempty" doc:"The path is no UTF-8: its wrong bytes are written as \\xNN, and backslashes are doubled."`
	Size     int64      `json:"size" doc:"Its size in bytes."`
	Type     string     `json:"type" doc:"Its media type, as far as name and first bytes show."`
	Modified *time.Time `json:"modified,omitempty" doc:"Last change of its content."`
	URL      string     `json:"url" doc:"Where to get it: its path, percent-encoded."`
}

func sessionFileView(ctx context.Context, session string, f job.SessionFile) SessionFileView {
	return SessionFileView{f.Path, f.Escaped, f.Size, f.Type, optional(f.Modified), below(ctx, sessionLocation) + session + "/files/" + escapePath(f.Raw())}
}

type sessionFilesInput struct {
	ID     string `path:"id" maxLength:"64" doc:"Id of the session."`
	Cursor string `query:"cursor" maxLength:"8192" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"Files per page."`
}

type sessionFilesOutput struct {
	Body struct {
		Files      []SessionFileView `json:"files" nullable:"false" doc:"The regular files in the working directory, by path."`
		Incomplete bool              `json:"incomplete,omitempty" doc:"There is more than is looked at, so there may be others."`
		NextCursor string            `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

type sessionFileInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path string `path:"path" maxLength:"4096" doc:"Path of the file, percent-encoded. Slashes may stay as they are."`
}

type putFileInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path string `path:"path" maxLength:"4096" doc:"Path of the file, percent-encoded. Slashes may stay as they are."`
}

type putFileOutput struct{ Body SessionFileView }

type putFilesInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the session."`
}

type putFilesOutput struct {
	Body struct {
		Files []SessionFileView `json:"files" nullable:"false" doc:"The files that were put there."`
	}
}

func (s *server) registerSessionFiles() {
	tags := []string{sessionsTag, filesTag}
	register(s, huma.Operation{
		OperationID: "listSessionFiles", Method: http.MethodGet, Path: sessionFilesPath, Tags: tags,
		Summary: "List the files of a session", Description: "The files in its working directory, after the executions that were accepted before.",
		Errors: []int{400, 401, 404, 409, 410, 429, 502, 503, 504},
	}, s.listSessionFiles)
	register(s, huma.Operation{
		OperationID: "getSessionFile", Method: http.MethodGet, Path: sessionFilePath, Tags: tags,
		Summary: "Download a file of a session", Description: "Ranges can be asked for.",
		Responses: anyFile(), Errors: []int{400, 401, 404, 409, 410, 412, 416, 429, 502, 503, 504},
	}, s.getSessionFile)
	register(s, huma.Operation{
		OperationID: "putSessionFile", Method: http.MethodPut, Path: sessionFilePath, Tags: tags,
		Summary: "Put a file into a session", Description: "The body is the file. One that is there is replaced; directories are made as needed. Conditions, as If-Match, are refused.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504, 507},
	}, s.putSessionFile)
	register(s, huma.Operation{
		OperationID: "putSessionFiles", Method: http.MethodPost, Path: sessionFilesPath, Tags: tags,
		Summary: "Put files into a session", Description: "In the order of the form; if one cannot be put there, those before it are there.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504, 507},
	}, s.putSessionFiles)
	register(s, huma.Operation{
		OperationID: "deleteSessionFile", Method: http.MethodDelete, Path: sessionFilePath, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a file of a session, or an empty directory", Errors: []int{400, 401, 404, 409, 410, 429, 502, 503, 504},
	}, s.deleteSessionFile)
	s.api.OpenAPI().Paths[sessionFilePath].Put.RequestBody = &huma.RequestBody{ // not required: a file may be empty
		Description: "The file, as it is.",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
	s.api.OpenAPI().Paths[sessionFilesPath].Post.RequestBody = &huma.RequestBody{
		Required: true,
		Content: map[string]*huma.MediaType{multipartForm: {Schema: &huma.Schema{
			Type: huma.TypeObject, Required: []string{filesPart}, Properties: map[string]*huma.Schema{filesPart: filesSchema()},
		}}},
	}
}

func (s *server) listSessionFiles(ctx context.Context, in *sessionFilesInput) (*sessionFilesOutput, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		const msg = "is not a cursor; send the nextCursor of the page before"
		return nil, badRequest("query.cursor: "+msg, FieldIssue{"query.cursor", msg})
	}
	found, err := s.cfg.Service.SessionFiles(ctx, service.CallerOf(ctx), in.ID, job.SessionFilesPage{After: after, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := new(sessionFilesOutput)
	out.Body.Files = sessionFileViews(ctx, in.ID, found.Files)
	out.Body.Incomplete, out.Body.NextCursor = found.Incomplete, base64.RawURLEncoding.EncodeToString(found.Next)
	return out, nil
}

func sessionFileViews(ctx context.Context, session string, files []job.SessionFile) []SessionFileView {
	views := make([]SessionFileView, len(files))
	for i, f := range files {
		views[i] = sessionFileView(ctx, session, f)
	}
	return views
}

func (s *server) getSessionFile(ctx context.Context, in *sessionFileInput) (*huma.StreamResponse, error) {
	f, content, err := s.cfg.Service.OpenSessionFile(ctx, service.CallerOf(ctx), in.ID, filePath(in.Path))
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer content.Close()
		serveFile(hc, f.File, f.Sum, f.Modified, content)
	}}, nil
}

// putSessionFile passes the body on as it comes.
func (s *server) putSessionFile(ctx context.Context, in *putFileInput) (*putFileOutput, error) {
	f, err := s.cfg.Service.PutSessionFile(ctx, service.CallerOf(ctx), in.ID, filePath(in.Path), streamOf(ctx))
	if invalid, ok := errors.AsType[*job.ValidationError](err); ok {
		return nil, invalidFile(invalid)
	}
	if err != nil {
		return nil, err
	}
	return &putFileOutput{sessionFileView(ctx, in.ID, f)}, nil
}

// invalidFile words what is wrong with the one file of a request that is its body.
func invalidFile(e *job.ValidationError) *Problem {
	issues := make([]FieldIssue, len(e.Fields))
	for i, f := range e.Fields {
		issues[i] = FieldIssue{Location: "body", Message: f.Message}
		if strings.HasSuffix(f.Field, ".path") {
			issues[i].Location = "path.path"
		}
	}
	return badRequest(describe("", issues), issues...)
}

func (s *server) putSessionFiles(ctx context.Context, in *putFilesInput) (*putFilesOutput, error) {
	files := uploadsOf(ctx)
	if len(files) == 0 {
		return nil, newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
			"send a form (Content-Type: multipart/form-data) with parts files, the filename of each being its path; or PUT one file to its path")
	}
	put, err := s.cfg.Service.PutSessionFiles(ctx, service.CallerOf(ctx), in.ID, files)
	if err != nil {
		return nil, err
	}
	out := new(putFilesOutput)
	out.Body.Files = sessionFileViews(ctx, in.ID, put)
	return out, nil
}

func (s *server) deleteSessionFile(ctx context.Context, in *sessionFileInput) (*struct{}, error) {
	return nil, s.cfg.Service.RemoveSessionFile(ctx, service.CallerOf(ctx), in.ID, filePath(in.Path))
}
