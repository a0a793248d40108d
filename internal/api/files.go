package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	filesTag = "Files"
)

// FileView is a file as a listing shows it.
type FileView struct {
	Path    string `json:"path" doc:"Its path below the working directory."`
	Escaped bool   `json:"escaped,omitempty" doc:"The path is no UTF-8: its wrong bytes are written as \\xNN, and backslashes are doubled."`
	Size    int64  `json:"size" doc:"Its size in bytes."`
	Type    string `json:"type" doc:"Its media type, as far as name and first bytes show."`
	URL     string `json:"url" doc:"Where to get it: its path, percent-encoded."`
}

func fileView(f job.File, url string) FileView {
	return FileView{f.Path, f.Escaped, f.Size, f.Type, url}
}

// fileURL is where a file of a job is.
func fileURL(ctx context.Context, id string, f job.File) string {
	return below(ctx, jobLocation) + id + "/files/" + escapePath(f.Raw())
}

// withURLs returns a result of a job whose files say where they are.
func withURLs(ctx context.Context, id string, r *job.Result) *job.Result {
	if r == nil || len(r.Files) == 0 {
		return r
	}
	shown := *r
	shown.Files = slices.Clone(r.Files)
	for i, f := range shown.Files {
		shown.Files[i].URL = fileURL(ctx, id, f)
	}
	return &shown
}

type listFilesOutput struct {
	Body struct {
		Files   []FileView        `json:"files" nullable:"false" doc:"The files that the code created or changed, by path."`
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
	// Its own, which can be any.
	content := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	return map[string]*huma.Response{
		"200": {Description: "The file, with its type.", Content: content},
		"206": {Description: "The part of it that Range asks for.", Content: content},
		"304": {Description: "It is what If-None-Match names."},
	}
}

func (s *server) listFiles(ctx context.Context, in *listFilesInput) (*listFilesOutput, error) {
	j, err := s.cfg.Service.Job(ctx, service.CallerOf(ctx), in.ID, 0)
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
		out.Body.Files = append(out.Body.Files, fileView(f, fileURL(ctx, j.ID, f)))
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

func (s *server) getFile(ctx context.Context, in *fileInput) (*huma.StreamResponse, error) {
	j, f, content, err := s.cfg.Service.OpenFile(ctx, service.CallerOf(ctx), in.ID, filePath(in.Path))
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer content.Close()
		serveFile(ctx, f, path.Base(j.OutputKey(f)), j.FinishedAt, content)
	}}, nil
}

// serveFile answers with the content of a file; tag identifies the content.
func serveFile(ctx huma.Context, f job.File, tag string, modified time.Time, content io.ReadSeeker) {
	c := humagin.Unwrap(ctx)
	// A browser must not show a file that the code made: a page would act as this site.
	for name, value := range map[string]string{
		"Content-Type": f.Type, "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": "attachment; filename*=UTF-8''" + attributeEscape(path.Base(f.Raw())),
		"ETag":                `"` + tag + `"`, "Cache-Control": "private, no-cache", // the caller may keep it, and has to ask
	} {
		c.Header(name, value)
	}
	w := &refusing{ResponseWriter: c.Writer}
	http.ServeContent(w, c.Request, "", modified, content)
	if w.refused != 0 {
		c.Writer.Header().Del("Content-Disposition") // a problem is no file
	}
	switch w.refused {
	case http.StatusRequestedRangeNotSatisfiable:
		abort(c, newProblem(w.refused, "range_not_satisfiable", fmt.Sprintf("the file has %d bytes; ask for some of these", f.Size)))
	case http.StatusPreconditionFailed:
		abort(c, newProblem(w.refused, "precondition_failed", "the file is not what the request's conditions say; leave them out, or look again"))
	}
}

// refuseConditions refuses headers that would otherwise be silently ignored: files have an ETag, and a
// caller who sends it with a change would believe that no change of another is lost.
func (s *server) refuseConditions(ctx huma.Context, next func(huma.Context)) {
	header := humagin.Unwrap(ctx).Request.Header
	for _, name := range []string{"If-Match", "If-None-Match", "If-Unmodified-Since"} {
		if len(header.Values(name)) != 0 {
			const message = "is not for this call; files are changed without conditions, so send it without this header"
			_ = huma.WriteErr(s.api, ctx, http.StatusBadRequest, "", &huma.ErrorDetail{Location: "header." + name, Message: message})
			return
		}
	}
	next(ctx)
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
	return nil, s.cfg.Service.DeleteFile(ctx, service.CallerOf(ctx), in.ID, filePath(in.Path))
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

// filePath is the path that a caller means, as bytes.
func filePath(path string) string { return strings.TrimPrefix(path, "/") }
