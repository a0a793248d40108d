package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
)

// Files is what the files of jobs need of the store.
type Files interface {
	// DropFile takes a file of so many bytes out of what a job's result lists.
	DropFile(ctx context.Context, id, key string, bytes int64) error
	// RoomForInputs says what the files of a job that is not recorded yet take, all of them
	// together, before they are stored. It fails with a job.FilesFullError if there is no room.
	RoomForInputs(ctx context.Context, id, caller string, bytes int64) error
	// ForgetBlobs says that all files of jobs are deleted.
	ForgetBlobs(ctx context.Context, ids ...string) error
}

// Blobs is where the contents of files are.
type Blobs interface {
	Put(ctx context.Context, key string, content io.Reader) (int64, error)
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	Delete(ctx context.Context, keys ...string) error
}

const (
	filesTag = "Files"
	// putTime bounds the storing of the files that come with a request.
	putTime = 30 * time.Second
)

// errFileStore: the place where blobs are does not answer.
var errFileStore = errors.New("the store of files does not answer")

// FileBody is a file that comes with a request.
type FileBody struct {
	Path          string  `json:"path" doc:"Where to put it, relative to the working directory." example:"data/in.csv"`
	Content       *string `json:"content,omitempty" nullable:"true" doc:"What is in it, if that is text. This or contentBase64."`
	ContentBase64 *string `json:"contentBase64,omitempty" nullable:"true" doc:"What is in it, in standard base64 with padding."`
}

// fileRequests are the files of a JSON body.
func fileRequests(files []FileBody) []job.FileRequest {
	var all []job.FileRequest
	for _, f := range files {
		all = append(all, job.FileRequest{Path: f.Path, Content: f.Content, ContentBase64: f.ContentBase64})
	}
	return all
}

// FileView is a file as a listing shows it.
type FileView struct {
	job.File
	URL string `json:"url" doc:"Where to get it: its path, percent-encoded."`
}

type listFilesOutput struct {
	Body struct {
		Files   []FileView        `json:"files" nullable:"false" doc:"What the code created or changed, by path."`
		Dropped *job.FilesDropped `json:"filesDropped,omitempty" doc:"Present when files were not kept."`
	}
}

type listFilesInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the job."`
}

type fileInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the job."`
	Path string `path:"path" maxLength:"4096" doc:"Path of the file, percent-encoded. Slashes may stay as they are."`
}

func (s *server) registerFiles() {
	register(s, huma.Operation{
		OperationID: "listFiles", Method: http.MethodGet, Path: "/v1/jobs/{id}/files", Tags: []string{filesTag},
		Summary: "List the files that a job left", Description: "Empty until the job has ended.", Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.listFiles)
	register(s, huma.Operation{
		OperationID: "getFile", Method: http.MethodGet, Path: "/v1/jobs/{id}/files/{path}", Tags: []string{filesTag},
		Summary: "Download a file", Description: "Ranges can be asked for.",
		Responses: anyFile(),
		Errors:    []int{400, 401, 404, 410, 412, 416, 429, 503},
	}, s.getFile)
	register(s, huma.Operation{
		OperationID: "deleteFile", Method: http.MethodDelete, Path: "/v1/jobs/{id}/files/{path}", Tags: []string{filesTag},
		Summary: "Delete a file", DefaultStatus: http.StatusNoContent, Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.deleteFile)
}

// anyFile documents the answer that is a file.
func anyFile() map[string]*huma.Response {
	content := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	return map[string]*huma.Response{
		"200": {Description: "The file, with its type.", Content: content},
		"206": {Description: "The part of it that Range asks for.", Content: content},
		"304": {Description: "It is what If-None-Match names."},
	}
}

func (s *server) listFiles(ctx context.Context, in *listFilesInput) (*listFilesOutput, error) {
	j, err := s.visible(ctx, in.ID, s.cfg.Lookup.Get)
	if err != nil {
		return nil, err
	}
	out := new(listFilesOutput)
	out.Body.Files = []FileView{}
	if j.Result == nil {
		return out, nil
	}
	out.Body.Dropped = j.Result.FilesDropped
	for _, f := range j.Result.Files {
		out.Body.Files = append(out.Body.Files, FileView{f, jobLocation + j.ID + "/files/" + escapePath(f.Raw())})
	}
	return out, nil
}

// escapePath percent-encodes what is between the slashes.
func escapePath(raw string) string {
	names := strings.Split(raw, "/")
	for i := range names {
		names[i] = url.PathEscape(names[i])
	}
	return strings.Join(names, "/")
}

// file finds the file that a caller means.
func (s *server) file(ctx context.Context, in *fileInput) (job.Job, job.File, error) {
	j, err := s.visible(ctx, in.ID, s.cfg.Lookup.Get)
	if err != nil {
		return j, job.File{}, err
	}
	if j.Result != nil {
		if i, ok := job.FindFile(j.Result.Files, strings.TrimPrefix(in.Path, "/")); ok {
			return j, j.Result.Files[i], nil
		}
	}
	if !j.State.Terminal() {
		return j, job.File{}, newProblem(http.StatusNotFound, "file_not_found", "the job has not ended; its files are there when it has")
	}
	return j, job.File{}, fmt.Errorf("find file: %w", job.ErrNoFile)
}

func (s *server) getFile(ctx context.Context, in *fileInput) (*huma.StreamResponse, error) {
	j, f, err := s.file(ctx, in)
	if err != nil {
		return nil, err
	}
	content, err := s.cfg.Blobs.Open(ctx, f.Key)
	if err != nil {
		return nil, fileError(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer content.Close()
		serveFile(ctx, f, path.Base(f.Key), j.FinishedAt, content)
	}}, nil
}

// serveFile answers with what is in a file; tag tells contents apart.
func serveFile(ctx huma.Context, f job.File, tag string, modified time.Time, content io.ReadSeeker) {
	c := humagin.Unwrap(ctx)
	// What the code made is not ours to show: a page of it would act as this site.
	for name, value := range map[string]string{
		"Content-Type": f.Type, "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": "attachment; filename*=UTF-8''" + attributeEscape(path.Base(f.Raw())),
		"ETag":                `"` + tag + `"`, "Cache-Control": "private, no-cache", // the caller may keep it, and has to ask
	} {
		c.Header(name, value)
	}
	w := &refusing{ResponseWriter: c.Writer}
	http.ServeContent(w, c.Request, "", modified, content)
	switch w.refused {
	case http.StatusRequestedRangeNotSatisfiable:
		abort(c, newProblem(w.refused, "range_not_satisfiable", fmt.Sprintf("the file has %d bytes; ask for some of these", f.Size)))
	case http.StatusPreconditionFailed:
		abort(c, newProblem(w.refused, "precondition_failed", "the file is not what the request's conditions say; leave them out, or look again"))
	}
}

// refusing keeps errors of net/http back, which are no problem documents.
type refusing struct {
	gin.ResponseWriter
	refused int
}

func (w *refusing) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.refused = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *refusing) Write(p []byte) (int, error) {
	if w.refused != 0 {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// attributeEscape encodes a header's parameter as RFC 8187 does.
func attributeEscape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

func (s *server) deleteFile(ctx context.Context, in *fileInput) (*struct{}, error) {
	j, f, err := s.file(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Files.DropFile(ctx, j.ID, f.Key, f.Size); err != nil {
		return nil, err
	}
	if err := s.cfg.Blobs.Delete(ctx, f.Key); err != nil {
		// It goes with the job.
		s.cfg.Log.WarnContext(ctx, "delete the content of a file", slog.String("job_id", j.ID), slog.Any("err", err))
	}
	return nil, nil //nolint:nilnil // there is nothing to say
}

// fileError tells a store of files that does not answer from one of jobs.
func fileError(err error) error {
	if errors.Is(err, job.ErrUnavailable) {
		return fmt.Errorf("%w: %w", errFileStore, err)
	}
	return err
}

// record records jobs, after the files that come with them: so a runner finds those.
func (s *server) record(ctx context.Context, drafts []job.NewJob) []job.Created {
	out := make([]job.Created, len(drafts))
	ready, places := make([]job.NewJob, 0, len(drafts)), make([]int, 0, len(drafts))
	for i, n := range drafts {
		if err := s.putInputs(ctx, n); err != nil {
			out[i].Err = err
			continue
		}
		ready, places = append(ready, n), append(places, i)
	}
	created := s.cfg.Records.CreateAll(ctx, ready)
	for _, n := range ready {
		for i := range n.Spec.Files {
			n.Spec.Files[i].Content = nil // it is stored; a caller may wait for an hour from here on
		}
	}
	for i, c := range created {
		out[places[i]] = c
		// In doubt they stay: the job may have been recorded all the same.
		if c.Replayed || c.Err != nil && !errors.Is(c.Err, job.ErrUnavailable) {
			s.dropInputs(ctx, ready[i])
		}
	}
	return out
}

func (s *server) putInputs(ctx context.Context, n job.NewJob) error {
	if len(n.Spec.Files) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	if bytes := toStore(n.Spec.Files); bytes > 0 {
		if err := s.cfg.Files.RoomForInputs(ctx, n.Job.ID, n.Caller, bytes); err != nil {
			return err
		}
	}
	for i, f := range n.Spec.Files {
		if f.Stored {
			continue
		}
		if _, err := s.cfg.Blobs.Put(ctx, job.InputKey(n.Job.ID, i), bytes.NewReader(f.Content)); err != nil {
			s.dropInputs(ctx, n)
			return fileError(err)
		}
	}
	return nil
}

// toStore is what files take that are not stored yet.
func toStore(files []job.Input) int64 {
	var bytes int64
	for _, f := range files {
		if !f.Stored {
			bytes += job.Footprint(f.Size)
		}
	}
	return bytes
}

// dropInputs deletes what came with a job that was not recorded. What is left of it is
// found as an orphan.
func (s *server) dropInputs(ctx context.Context, n job.NewJob) {
	if len(n.Spec.Files) == 0 {
		return
	}
	keys := make([]string, len(n.Spec.Files))
	for i := range keys {
		keys[i] = job.InputKey(n.Job.ID, i)
	}
	s.dropBlobs(ctx, n.Job.ID, keys...)
}

// dropBlobs deletes all blobs of a job, in the background: they were for one request only. What
// stays is found later.
func (s *server) dropBlobs(ctx context.Context, id string, keys ...string) {
	s.cfg.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
		defer cancel()
		err := s.cfg.Blobs.Delete(ctx, keys...)
		if err == nil {
			err = s.cfg.Files.ForgetBlobs(ctx, id)
		}
		if err != nil {
			s.cfg.Log.WarnContext(ctx, "delete files that were for one request", slog.String("job_id", id), slog.Any("err", err))
		}
	})
}

// documentUpload adds the form of a request that brings files as they are.
func (s *server) documentUpload(path string, body reflect.Type) {
	request := s.api.OpenAPI().Components.Schemas.Schema(body, true, "")
	s.api.OpenAPI().Paths[path].Post.RequestBody.Content[multipartForm] = &huma.MediaType{Schema: &huma.Schema{
		Type: huma.TypeObject, Required: []string{requestPart},
		Properties: map[string]*huma.Schema{requestPart: request, filesPart: filesSchema()},
	}}
}

// filesSchema documents the parts of a form that are files.
func filesSchema() *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString, Format: "binary"},
		Description: "Files as they are; the filename of each part is its path.",
	}
}
