package daytona

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// mostFiles bounds the files of one upload or download, and mostPath the field with a path.
const mostFiles, mostPath = 1000, 8192

// write writes a file of a sandbox, and makes the directories above it.
func (d *Dialect) write(ctx context.Context, session, name string, content io.Reader) error {
	if !job.ValidAbsolute(name) {
		return dialect.NewFault(http.StatusBadRequest, codeBadPath, "path: send the path of a file")
	}
	_, err := d.service.WriteSessionFS(ctx, service.CallerOf(ctx), session, job.FSRequest{Do: job.FSWrite, Path: []byte(name), Replace: true, Parents: true}, content)
	if refused, ok := errors.AsType[*service.ReadError](err); ok { // of the body; the door words what it knows
		body := (*service.BodyError)(nil)
		if !errors.As(refused, &body) {
			err = badRequest("the upload ended early")
		}
	}
	return err
}

// bodyOf is the body of an upload, unpacked.
func bodyOf(r *http.Request) (io.Reader, error) {
	if !strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		return r.Body, nil
	}
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, badRequest("the body is not compressed with gzip as Content-Encoding says")
	}
	return &bounded{r: unpacked, left: service.CallOf(r.Context()).BodyLimit}, nil
}

// bounded ends with an error beyond so many bytes.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &service.BodyError{Fault: service.BodyTooLarge}
	}
	return n, err //nolint:wrapcheck // io.EOF among them
}

func (d *Dialect) uploadOne(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	if err := d.checkSignature(r, se); err != nil {
		return err
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		return d.uploadForm(w, r)
	}
	content, err := bodyOf(r)
	if err != nil {
		return err
	}
	if err := d.write(r.Context(), se.ID, r.URL.Query().Get("path"), content); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"path": r.URL.Query().Get("path")})
}

// uploadForm takes a form with one file.
func (d *Dialect) uploadForm(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	form, err := formOf(r)
	if err != nil {
		return err
	}
	for {
		part, err := form.NextPart()
		if err != nil {
			return badRequest("the form has no file; send one as its part file")
		}
		if part.FormName() != "file" {
			continue
		}
		if err := d.write(r.Context(), se.ID, r.URL.Query().Get("path"), part); err != nil {
			return err
		}
		return answerJSON(w, http.StatusOK, map[string]string{"path": r.URL.Query().Get("path")})
	}
}

func formOf(r *http.Request) (*multipart.Reader, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, badRequest("send a form (multipart/form-data)")
	}
	content, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	return multipart.NewReader(content, params["boundary"]), nil
}

var uploadField = regexp.MustCompile(`^files\[(\d{1,6})\]\.(path|file)$`)

// uploadMany takes a form with the paths and the contents of files. The path of a file is before its content.
func (d *Dialect) uploadMany(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	form, err := formOf(r)
	if err != nil {
		return err
	}
	paths := map[string]string{}
	var failures []string
	for written := 0; ; {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			if written+len(failures) == 0 {
				return badRequest("the form has no files; send files[0].path and files[0].file")
			}
			break
		}
		if err != nil {
			return badRequest("the form ended early, or is damaged")
		}
		field := uploadField.FindStringSubmatch(part.FormName())
		switch {
		case field == nil:
			continue
		case field[2] == "path":
			text, err := io.ReadAll(io.LimitReader(part, mostPath))
			if err != nil || len(paths) == mostFiles {
				return badRequest("the form is damaged, or has more than %d files", mostFiles)
			}
			paths[field[1]] = string(text)
			continue
		}
		name, ok := paths[field[1]]
		if !ok {
			return badRequest("files[%s].file is before files[%s].path; send the path first", field[1], field[1])
		}
		if err := d.write(r.Context(), se.ID, name, part); err != nil {
			body, _ := d.errorOf(r, err)
			if body.StatusCode >= http.StatusInternalServerError || body.StatusCode == http.StatusNotFound && body.Code == "" {
				return err
			}
			failures = append(failures, clipped(name)+": "+body.Message)
			continue
		}
		written++
	}
	if len(failures) > 0 {
		return answerJSON(w, http.StatusBadRequest, map[string]any{
			"statusCode": http.StatusBadRequest, "source": "DAYTONA_DAEMON", "message": strings.Join(failures, "; "), "errors": failures,
		})
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// read opens a file of a sandbox. The content is to be closed.
func (d *Dialect) read(ctx context.Context, session, name string) (job.FSAnswer, io.ReadSeekCloser, error) {
	if !job.ValidAbsolute(name) {
		return job.FSAnswer{}, nil, dialect.NewFault(http.StatusBadRequest, codeBadPath, "path: send the path of a file")
	}
	a, content, err := d.service.ReadSessionFS(ctx, service.CallerOf(ctx), session, job.FSRequest{Do: job.FSRead, Path: []byte(name), Length: -1})
	if hasCode(err, job.FailIsDirectory) {
		err = badRequest("%s is a directory", clipped(name))
	}
	return a, content, err
}

func (d *Dialect) downloadOne(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	if err := d.checkSignature(r, se); err != nil {
		return err
	}
	a, content, err := d.read(r.Context(), se.ID, r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	defer content.Close()
	dialect.Attachment(w.Header())
	w.Header().Set("Content-Length", strconv.FormatInt(a.Length, 10))
	w.WriteHeader(http.StatusOK)
	_, _ = io.Copy(w, content) // a caller that has gone needs nothing
	return nil
}

// downloadMany answers with a form that has a part for each file: its content, or why there is none.
func (d *Dialect) downloadMany(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Paths []string `json:"paths"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if len(body.Paths) == 0 || len(body.Paths) > mostFiles {
		return badRequest("paths: send 1 to %d paths", mostFiles)
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	form := multipart.NewWriter(w)
	w.Header().Set("Content-Type", form.FormDataContentType())
	w.WriteHeader(http.StatusOK)
	for _, name := range body.Paths {
		if err := d.downloadPart(r, form, se.ID, name); err != nil {
			panic(http.ErrAbortHandler) // the caller sees that the answer is not whole
		}
	}
	if form.Close() != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (d *Dialect) downloadPart(r *http.Request, form *multipart.Writer, session, name string) error {
	a, content, err := d.read(r.Context(), session, name)
	if err != nil {
		if r.Context().Err() != nil {
			return err
		}
		body, _ := d.errorOf(r, err)
		part, failed := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {partOf("error", name)}, "Content-Type": {"application/json"}})
		if failed != nil {
			return fmt.Errorf("write part: %w", failed)
		}
		return json.NewEncoder(part).Encode(body) //nolint:wrapcheck // of the connection
	}
	defer content.Close()
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {partOf("file", name)}, "Content-Type": {"application/octet-stream"}, "Content-Length": {strconv.FormatInt(a.Length, 10)},
	})
	if err == nil {
		_, err = io.Copy(part, content)
	}
	if err != nil {
		return fmt.Errorf("write part: %w", err)
	}
	return nil
}

// partOf is the disposition of a part for a path, as it was sent.
func partOf(kind, name string) string {
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Sprintf(`form-data; name="%s"; filename*=UTF-8''%s`, kind, strings.ReplaceAll(url.QueryEscape(name), "+", "%20"))
		}
	}
	return fmt.Sprintf(`form-data; name="%s"; filename="%s"`, kind, name)
}
