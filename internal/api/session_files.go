package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// The files of a session are its live working directory, which is with its runner. So
// whatever is done with them is an operation, in the order of the session's executions.

const (
	sessionFilesPath = "/v1/sessions/{id}/files"
	sessionFilePath  = "/v1/sessions/{id}/files/{path}"
)

// SessionFileView is a file of a session as a listing shows it.
type SessionFileView struct {
	job.File
	Modified *time.Time `json:"modified,omitempty" doc:"Last change of its content."`
	URL      string     `json:"url" doc:"Where to get it: its path, percent-encoded."`
}

func sessionFileView(session string, f job.SessionFile) SessionFileView {
	return SessionFileView{f.File, optional(f.Modified), sessionLocation + session + "/files/" + escapePath(f.Raw())}
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
		Files []SessionFileView `json:"files" nullable:"false" doc:"What was put there."`
	}
}

func (s *server) registerSessionFiles() {
	tags := []string{sessionsTag, filesTag}
	register(s, huma.Operation{
		OperationID: "listSessionFiles", Method: http.MethodGet, Path: sessionFilesPath, Tags: tags,
		Summary: "List the files of a session", Description: "What is in its working directory after what was accepted before.",
		Errors: []int{400, 401, 404, 409, 410, 429, 502, 503, 504},
	}, s.listSessionFiles)
	register(s, huma.Operation{
		OperationID: "getSessionFile", Method: http.MethodGet, Path: sessionFilePath, Tags: tags,
		Summary: "Download a file of a session", Description: "Ranges can be asked for.",
		Responses: anyFile(), Errors: []int{400, 401, 404, 409, 410, 412, 416, 429, 502, 503, 504},
	}, s.getSessionFile)
	register(s, huma.Operation{
		OperationID: "putSessionFile", Method: http.MethodPut, Path: sessionFilePath, Tags: tags,
		Summary: "Put a file into a session", Description: "The body is the file. One that is there is replaced; directories are made as needed.",
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
	j, err := s.operation(ctx, in.ID, job.Spec{Op: job.OpListFiles}, job.SessionFilesPage{After: after, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := new(sessionFilesOutput)
	found, err := sessionFiles(in.ID, j, &out.Body.Files)
	out.Body.Incomplete, out.Body.NextCursor = found.Incomplete, base64.RawURLEncoding.EncodeToString(found.Next)
	return out, err
}

// sessionFiles reads what a runner answers about files.
func sessionFiles(session string, j job.Job, views *[]SessionFileView) (job.SessionFiles, error) {
	var answer job.SessionFiles
	if err := json.Unmarshal(j.Data, &answer); err != nil {
		return answer, fmt.Errorf("decode the files of a session: %w", err)
	}
	*views = make([]SessionFileView, len(answer.Files))
	for i, f := range answer.Files {
		(*views)[i] = sessionFileView(session, f)
	}
	return answer, nil
}

// filePath is the path that a caller means, as bytes.
func filePath(path string) string { return strings.TrimPrefix(path, "/") }

func (s *server) getSessionFile(ctx context.Context, in *sessionFileInput) (*huma.StreamResponse, error) {
	j, err := s.operation(ctx, in.ID, job.Spec{Op: job.OpReadFile}, job.SessionPath{Path: []byte(filePath(in.Path))})
	if err != nil {
		return nil, err
	}
	var f job.SessionFile
	if err := json.Unmarshal(j.Data, &f); err != nil {
		return nil, fmt.Errorf("decode a file of a session: %w", err)
	}
	f.Key = job.OutputKey(j.ID, j.Attempt, f.Raw())
	content, err := s.cfg.Blobs.Open(ctx, f.Key)
	if err != nil {
		s.dropBlobs(ctx, j.ID, f.Key)
		return nil, fileError(err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.dropBlobs(ctx, j.ID, f.Key)
		defer content.Close()
		serveFile(hc, f.File, f.Sum, f.Modified, content)
	}}, nil
}

// putSessionFile stores the body as it comes, and then has the session's runner fetch it:
// nobody holds it in memory.
func (s *server) putSessionFile(ctx context.Context, in *putFileInput) (*putFileOutput, error) {
	path := filePath(in.Path)
	err := s.cfg.Limits.AcceptPath(path)
	if invalid, ok := errors.AsType[*job.ValidationError](err); ok {
		return nil, invalidFile(invalid)
	}
	// What is for no session need not come.
	if err := s.checkLive(ctx, in.ID); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make job id: %w", err)
	}
	body := &failing{r: streamOf(ctx)}
	key := job.InputKey(id.String(), 0)
	counted := &roomy{r: body, room: func(size int64) error {
		return s.cfg.Files.RoomForInputs(ctx, id.String(), shortCaller(ctx), job.Footprint(size))
	}}
	size, err := s.cfg.Blobs.Put(ctx, key, counted)
	if err == nil {
		err = counted.end()
	}
	if err != nil || counted.err != nil {
		s.dropBlobs(ctx, id.String(), key)
	}
	switch {
	case counted.err != nil:
		return nil, counted.err
	case body.err != nil && ctx.Err() == nil:
		return nil, bodyProblem(body.err, s.cfg.BodyTimeout)
	case err != nil:
		return nil, fileError(err)
	}
	views, err := s.putInSession(ctx, in.ID, id, []job.Input{{Path: path, Size: size, Stored: true}})
	if err != nil {
		return nil, err
	}
	return &putFileOutput{views[0]}, nil
}

// checkLive refuses what is for a session that is not there, or has ended.
func (s *server) checkLive(ctx context.Context, id string) error {
	if err := checkSession(id); err != nil {
		return err
	}
	se, err := s.cfg.Sessions.Session(ctx, id, job.Viewer{Caller: shortCaller(ctx)})
	if err == nil && se.State == job.SessionEnded {
		err = &job.SessionEndedError{ID: id, SessionEnd: job.SessionEnd{Reason: se.Reason, Message: se.Message}}
	}
	return err
}

// failing remembers why reading has failed: it is a mistake of the caller and not of those who
// read.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
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
	inputs, err := s.cfg.Limits.AcceptFiles(files)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make job id: %w", err)
	}
	views, err := s.putInSession(ctx, in.ID, id, inputs)
	if err != nil {
		return nil, err
	}
	out := new(putFilesOutput)
	out.Body.Files = views
	return out, nil
}

// putInSession has files put into a session, with the job of that id.
func (s *server) putInSession(ctx context.Context, session string, id uuid.UUID, files []job.Input) ([]SessionFileView, error) {
	j, err := s.operationAs(ctx, session, id, job.Spec{Op: job.OpPutFiles, Files: files}, nil)
	if err != nil {
		return nil, err
	}
	var views []SessionFileView
	found, err := sessionFiles(session, j, &views)
	if err == nil && len(found.Files) != len(files) {
		err = io.ErrUnexpectedEOF
	}
	return views, err
}

func (s *server) deleteSessionFile(ctx context.Context, in *sessionFileInput) (*struct{}, error) {
	_, err := s.operation(ctx, in.ID, job.Spec{Op: job.OpRemoveFile}, job.SessionPath{Path: []byte(filePath(in.Path))})
	return nil, err
}
