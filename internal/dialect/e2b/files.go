package e2b

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// files wraps the handlers of files over HTTP.
func (d *Dialect) files(h func(http.ResponseWriter, *http.Request, target) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation = "/files", "sandboxFiles"
		session, err := "", error(nil)
		if isSigned(r) {
			session, _ = d.signer(r)
			if call.SessionID = session; session == "" {
				err = service.ErrUnauthorized
			}
		} else {
			session, err = d.targetOfRequest(r)
		}
		if err == nil {
			err = h(w, r, target{service.CallerOf(r.Context()), session})
		}
		if err != nil {
			d.answer(w, r, err)
		}
	}
}

// download answers with a file.
func (d *Dialect) download(w http.ResponseWriter, r *http.Request, t target) error {
	if user := r.URL.Query().Get("username"); !isUser(user) {
		return dialect.NewFault(http.StatusUnauthorized, "unauthorized", "invalid username: '%s'", clipped(user))
	}
	at := absolute(r.URL.Query().Get("path"))
	a, content, err := d.service.ReadSessionFS(r.Context(), t.caller, t.session, job.FSRequest{Do: job.FSRead, Path: placed(at), Length: -1})
	switch why := failure(err); {
	case why == job.FailNoFile:
		return dialect.NewFault(http.StatusNotFound, "file_not_found", "path '%s' does not exist", clipped(at))
	case why == job.FailIsDirectory:
		return dialect.NewFault(http.StatusBadRequest, "is_a_directory", "path '%s' is a directory", clipped(at))
	case err != nil:
		return err
	}
	defer content.Close()
	h := w.Header()
	dialect.Attachment(h)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(at)}))
	h.Set("Vary", "Accept-Encoding")
	if service.CallOf(r.Context()).HeadOnly {
		return nil
	}
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") || r.Header.Get("Range") != "" {
		http.ServeContent(w, r, "", a.Entry.Modified, content)
		return nil
	}
	h.Set("Content-Encoding", "gzip")
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, content)
	if err = errors.Join(err, z.Close()); err != nil {
		panic(http.ErrAbortHandler) // a clean end would be a shorter file
	}
	return nil
}

type fileInfo struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Path string `json:"path"`
	// Metadata is what the file was given.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// upload writes the files of a form, or the body as one file.
func (d *Dialect) upload(w http.ResponseWriter, r *http.Request, t target) error {
	if user := r.URL.Query().Get("username"); !isUser(user) {
		return dialect.NewFault(http.StatusUnauthorized, "unauthorized", "invalid username: '%s'", clipped(user))
	}
	attributes, err := attributesIn(r.Header)
	if err != nil {
		return err
	}
	body, err := unpacked(r)
	if err != nil {
		return err
	}
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	at, answer := r.URL.Query().Get("path"), []fileInfo{}
	switch {
	case kind != "multipart/form-data" && at == "":
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "path is required")
	case kind != "multipart/form-data":
		info, err := d.put(r, t, at, attributes, body)
		if err != nil {
			return err
		}
		answer = append(answer, info)
	default:
		if answer, err = d.putParts(r, t, multipart.NewReader(body, params["boundary"]), at, attributes); err != nil {
			return err
		}
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// mostParts is how many files one form may have.
const mostParts = 1000

func (d *Dialect) putParts(r *http.Request, t target, form *multipart.Reader, at string, attributes map[string]string) ([]fileInfo, error) {
	answer := []fileInfo{}
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return answer, nil
		case err != nil:
			return nil, badForm(err)
		case part.FormName() != "file":
			continue
		case len(answer) == mostParts:
			return nil, dialect.NewFault(http.StatusBadRequest, "invalid_request", "the form has more than %d files", mostParts)
		}
		name := at
		if name == "" {
			name = fileName(part)
		}
		if name == "" {
			return nil, dialect.NewFault(http.StatusBadRequest, "invalid_request", "a file of the form has no filename, and the query no path")
		}
		info, err := d.put(r, t, name, attributes, part)
		if err != nil {
			return nil, err
		}
		answer = append(answer, info)
	}
}

func badForm(err error) error {
	if body, ok := errors.AsType[*service.BodyError](err); ok {
		return body
	}
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", "the form is not complete, or is none")
}

// fileName is the name of a part with its directories, which Part.FileName leaves out.
func fileName(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// put writes a file with its attributes.
func (d *Dialect) put(r *http.Request, t target, name string, attributes map[string]string, content io.Reader) (fileInfo, error) {
	const mode = 0o644
	at := absolute(name)
	a, err := d.service.WriteSessionFS(r.Context(), t.caller, t.session, job.FSRequest{
		Do: job.FSWrite, Path: placed(at), Mode: mode, Replace: true, Parents: true, Attributes: attributes,
	}, content)
	if read, ok := errors.AsType[*service.ReadError](err); ok {
		return fileInfo{}, badForm(read.Err)
	}
	if why := failure(err); why == job.FailDisk {
		return fileInfo{}, dialect.NewFault(http.StatusInsufficientStorage, "disk_full", "not enough disk space available")
	} else if why == job.FailIsDirectory || why == job.FailFileExists || why == job.FailNotDirectory {
		return fileInfo{}, dialect.NewFault(http.StatusBadRequest, string(why), "path is a directory, or has a file for a directory: %s", clipped(at))
	}
	if err == nil && d.watched.has(t.session) {
		// Who watches sees how E2B's envd writes: the file, its mode, its content.
		_, err = d.service.SessionFS(r.Context(), t.caller, t.session, job.FSRequest{Do: job.FSChmod, Path: placed(at), Mode: mode})
	}
	return fileInfo{Name: path.Base(at), Type: "file", Path: at, Metadata: metadataOfFile(a.Entry)}, err
}

// unpacked returns the body of a request, without the compression by gzip that it may have.
func unpacked(r *http.Request) (io.Reader, error) {
	coding := r.Header.Get("Content-Encoding")
	if coding == "" || strings.EqualFold(coding, "identity") {
		return r.Body, nil
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, dialect.NewFault(http.StatusBadRequest, "invalid_request", "the body is not compressed by gzip")
	}
	return &bounded{z, service.CallOf(r.Context()).BodyLimit}, nil
}

// bounded is what a body may be unpacked.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &service.BodyError{Fault: service.BodyTooLarge}
	}
	return n, err
}
