package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The paths that take files as they are, in the parts of a form.
const (
	executePath = "/process/interpreter/execute"
	jobsPath    = "/v1/jobs"

	multipartForm = "multipart/form-data"
	requestPart   = "request"
	filesPart     = "files"
)

// isForm reports whether a request brings files as they are, where that is possible.
func isForm(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	if path := r.URL.Path; path != executePath && path != jobsPath && !takesFiles(path) {
		return false
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == multipartForm
}

// uploadsKey is the context key of the files of a form.
type uploadsKey struct{}

// uploadsOf returns the files that came in a form.
func uploadsOf(ctx context.Context) []job.FileRequest {
	u, ok := ctx.Value(uploadsKey{}).(*uploads)
	if !ok {
		return nil
	}
	return u.files
}

type uploads struct{ files []job.FileRequest }

// unpacked takes a form apart, after its body was read: what follows sees the request
// alone, as JSON. most is how many files it may have.
func unpacked(most int) gin.HandlerFunc {
	return func(c *gin.Context) {
		if isPort(c.Request) {
			return
		}
		if !isForm(c.Request) {
			if isMisplacedForm(c.Request) {
				abort(c, newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
					"forms are for POST "+executePath+", POST "+jobsPath+", POST "+sessionFilesPath+" and POST "+fsPath+fsContent+"; send JSON with the header Content-Type: application/json"))
			}
			return
		}
		request, files, err := readForm(c.Request, most, !takesFiles(c.Request.URL.Path))
		if err != nil {
			p, _ := problemOf(err)
			abort(c, p)
			return
		}
		came := &uploads{files}
		service.CallOf(c.Request.Context()).OnRecorded(func() { came.files = nil })
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), uploadsKey{}, came))
		c.Request.Body = io.NopCloser(bytes.NewReader(request))
		c.Request.ContentLength = int64(len(request))
		c.Request.Header.Set("Content-Type", "application/json")
		c.Request.Header.Set("Content-Length", strconv.Itoa(len(request)))
	}
}

// isMisplacedForm reports whether a request has the type of a form. A file that is a body may be of any
// other type in parts, such as mail.
func isMisplacedForm(r *http.Request) bool {
	kind := strings.ToLower(r.Header.Get("Content-Type"))
	return strings.HasPrefix(kind, multipartForm) || strings.HasPrefix(kind, "multipart/") && !isRaw(r)
}

// takesFiles reports whether a form at a path has files alone: whether it is sessionFilesPath, or that of files by
// absolute path.
func takesFiles(path string) bool {
	id, rest, ok := sessionOf(path)
	return ok && id != "" && (rest == "files" || rest == fsContent)
}

// isRaw reports whether the body of a request is a file: whether its path is sessionFilePath, or that of a
// file by absolute path or of an archive.
func isRaw(r *http.Request) bool {
	id, rest, ok := sessionOf(r.URL.Path)
	return r.Method == http.MethodPut && ok && id != "" && (strings.HasPrefix(rest, "files/") || rest == fsContent || rest == fsArchive)
}

// isFSContent reports whether the body of a request is a file or an archive that may be compressed.
func isFSContent(r *http.Request) bool {
	_, rest, _ := sessionOf(r.URL.Path)
	return isRaw(r) && !strings.HasPrefix(rest, "files/")
}

// isFSFile reports whether it is a file. An archive is passed on compressed.
func isFSFile(r *http.Request) bool {
	_, rest, _ := sessionOf(r.URL.Path)
	return isRaw(r) && rest == fsContent
}

// isFSWrite reports whether a request writes files by absolute path, as JSON or as a form.
func isFSWrite(r *http.Request) bool {
	id, rest, ok := sessionOf(r.URL.Path)
	return r.Method == http.MethodPost && ok && id != "" && rest == fsContent
}

// isLines reports whether the body of a request is a batch.
func isLines(r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, batchesPath)
	return r.Method == http.MethodPost && ok && (path == "" || strings.HasPrefix(path, "/") && strings.HasSuffix(path, "/lines"))
}

// sessionOf returns the id of the session in a path, and the rest of the path.
func sessionOf(path string) (id, rest string, ok bool) {
	after, ok := strings.CutPrefix(path, sessionLocation)
	id, rest, _ = strings.Cut(after, "/")
	return id, rest, ok
}

// readForm takes a form apart; with hasRequest, one of its parts is the request.
func readForm(r *http.Request, most int, hasRequest bool) (request []byte, files []job.FileRequest, err error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, nil, badRequest("cannot read the form: " + err.Error() + "; let your HTTP client write the Content-Type")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		var content []byte
		if err == nil {
			content, err = io.ReadAll(part)
		}
		if err != nil {
			return nil, nil, badRequest("cannot read the form: " + err.Error())
		}
		switch name := part.FormName(); {
		case name == requestPart && !hasRequest:
			return nil, nil, badRequest("the form has a part request; it takes files only")
		case name == requestPart && request != nil:
			return nil, nil, badRequest("the form has two parts request; send one, with the JSON of the request")
		case name == requestPart && !utf8.Valid(content):
			return nil, nil, badRequest("the part request is not valid UTF-8; encode it as UTF-8")
		case name == requestPart:
			request = content
		case name == filesPart && len(files) == most:
			return nil, nil, badRequest(fmt.Sprintf("body.files: has more than %d files, which is the limit", most))
		case name == filesPart:
			files = append(files, job.FileRequest{Path: pathOf(part), Data: content})
		default:
			return nil, nil, badRequest(fmt.Sprintf("the form has a part %.64q; it may have request, the JSON of the request, and any number of files", name))
		}
	}
	if request == nil && hasRequest {
		return nil, nil, badRequest("the form has no part request; send the JSON of the request in it")
	}
	return request, files, nil
}

// pathOf returns the filename of a part with its directories, which part.FileName drops.
func pathOf(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}
