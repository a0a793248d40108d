// Package librechat speaks the protocol of LibreChat's code interpreter: executions, files that they read and leave, and
// code that calls the tools of its caller. docs/dialects/librechat.md.
package librechat

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers /exec, /exec/programmatic, /upload, /files and /download. What they call a session is a job of Kaa,
// which keeps the files that it has left.
type Dialect struct {
	dialect.Plain
	parts dialect.Parts
	mux   *http.ServeMux
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	d := &Dialect{parts: p, mux: http.NewServeMux()}
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /exec": d.exec, "POST /exec/programmatic": d.programmatic, "POST /upload": d.upload,
		"GET /files/{session}": d.list, "GET /download/{session}/{file}": d.download,
		"DELETE /files/{session}/{file}": d.remove, "GET /health": healthy,
		"/": func(http.ResponseWriter, *http.Request) error {
			return dialect.NewFault(http.StatusNotFound, "no_such_route", "Not Found")
		},
	} {
		d.handle(pattern, h)
	}
	return d
}

func (d *Dialect) handle(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	_, route, found := strings.Cut(pattern, " ")
	if !found {
		route = pattern
	}
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation, call.Executes = route, strings.Trim(route, "/"), strings.HasPrefix(route, "/exec")
		if err := h(w, r); err != nil {
			d.Refuse(w, r, err)
		}
	})
}

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string { return dialect.AnyKey(r) }

// Public names the route of health checks.
func (*Dialect) Public(r *http.Request) bool { return r.URL.Path == "/health" }

// Probe names the route of health checks.
func (*Dialect) Probe(r *http.Request) bool { return r.URL.Path == "/health" }

// Body takes the bytes of an upload.
func (*Dialect) Body(r *http.Request) service.Body {
	if r.URL.Path == "/upload" {
		return service.BodyStreamed
	}
	return service.BodyText
}

func healthy(w http.ResponseWriter, _ *http.Request) error {
	dialect.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// Refuse answers with a message.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.parts.Log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, map[string]string{"error": f.Code, "message": f.Message})
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !dialect.Straight(r) {
		d.Refuse(w, r, dialect.NewFault(http.StatusNotFound, "no_such_route", "Not Found"))
		return
	}
	d.mux.ServeHTTP(w, r)
}

func refuse(format string, args ...any) error {
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", format, args...)
}

// dataDir is the directory that clients tell models to use. It stands for the working directory.
const dataDir = "/mnt/data"

// placed returns code with the working directory in place of dataDir, which a sandbox does not have.
func placed(code string) string {
	return strings.ReplaceAll(code, dataDir, ".")
}

// fileRef names a file: by the job that has it, and its path there.
type fileRef struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	StorageSession string `json:"storage_session_id"`
	Session        string `json:"session_id,omitempty"` // that of earlier clients
	Path           string `json:"path,omitempty"`
}

// idOf is the id of a file of a job.
func idOf(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// pathOf reads an id; clients may have appended the file's extension.
func pathOf(id string) (string, error) {
	bare, _, _ := strings.Cut(id, ".")
	name, err := base64.RawURLEncoding.DecodeString(bare)
	if err != nil || len(name) == 0 {
		return "", dialect.NewFault(http.StatusNotFound, "file_not_found", "file not found")
	}
	return string(name), nil
}

// left are the files that a job has left.
func left(j job.Job) []fileRef {
	refs := []fileRef{}
	if j.Result == nil {
		return refs
	}
	for _, f := range j.Result.Files {
		refs = append(refs, fileRef{ID: idOf(f.Raw()), Name: f.Path, StorageSession: j.ID, Session: j.ID, Path: dataDir + "/" + f.Path})
	}
	return refs
}

type execBody struct {
	Lang, Code string
	Args       []string
	Files      []fileRef
	Timeout    float64 // milliseconds
	Tools      []tool
	Token      string       `json:"continuation_token"`
	Results    []toolResult `json:"tool_results"`
}

// request translates the code and fetches its files, whose bytes count as those of bodies until release is called.
func (d *Dialect) request(r *http.Request, body execBody) (run job.Request, release func(), err error) {
	release = func() {}
	switch {
	case strings.TrimSpace(body.Code) == "":
		return run, release, refuse("code is required")
	case body.Lang == "py" || body.Lang == "python":
		run = job.Request{Code: placed(body.Code), Argv: body.Args}
	case body.Lang == "bash":
		run = dialect.Shell(placed(body.Code), body.Args)
	default:
		return run, release, refuse("Unsupported language: %q; this server has py and bash", body.Lang[:min(len(body.Lang), 32)])
	}
	run.ResultTTL = new(d.parts.Service.LimitsOf(service.CallerOf(r.Context())).MaxResultTTL.Seconds())
	run.Timeout = dialect.Timeout(r.Context(), d.parts.Service, body.Timeout/1000)
	run.Files, release, err = d.fetch(r, body.Files)
	return run, release, err
}

// fetch reads files of other jobs of the caller.
func (d *Dialect) fetch(r *http.Request, refs []fileRef) (files []job.FileRequest, release func(), err error) {
	s, caller := d.parts.Service, service.CallerOf(r.Context())
	held := s.HoldBody(caller)
	for _, ref := range refs {
		from := ref.StorageSession
		if from == "" {
			from = ref.Session
		}
		name, err := pathOf(ref.ID)
		if err != nil {
			return nil, held.Release, err
		}
		content, err := d.open(r, from, name)
		if err != nil {
			return nil, held.Release, err
		}
		data, err := io.ReadAll(held.Reader(content))
		_ = content.Close()
		if err != nil {
			return nil, held.Release, err
		}
		to := strings.TrimPrefix(path.Clean("/"+ref.Name), "/")
		if to == "" {
			to = name
		}
		files = append(files, job.FileRequest{Path: to, Data: append([]byte{}, data...)})
	}
	return files, held.Release, nil
}

// open opens a file of a job of the caller.
func (d *Dialect) open(r *http.Request, id, name string) (io.ReadSeekCloser, error) {
	if !service.IsID(id) {
		return nil, dialect.NewFault(http.StatusNotFound, "file_not_found", "file not found")
	}
	_, _, content, err := d.parts.Service.OpenFile(r.Context(), service.CallerOf(r.Context()), id, name)
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) || errors.Is(err, job.ErrNoFile) || errors.Is(err, service.ErrNotEnded) {
		return nil, dialect.NewFault(http.StatusNotFound, "file_not_found", "file not found")
	}
	return content, err
}

// execution is the answer to code.
type execution struct {
	Session string    `json:"session_id"`
	Stdout  string    `json:"stdout"`
	Stderr  string    `json:"stderr"`
	Files   []fileRef `json:"files"`
}

func (d *Dialect) exec(w http.ResponseWriter, r *http.Request) error {
	var body execBody
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	run, release, err := d.request(r, body)
	defer release()
	if err != nil {
		return err
	}
	p, j, err := dialect.RunProgram(r.Context(), d.parts.Service, run)
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, execution{j.ID, p.Stdout, p.Stderr, left(j)})
	return nil
}

// inbox is where the files of an upload are for a moment. keep moves them, so that the job has left them.
const (
	inbox = ".incoming"
	keep  = `import os, shutil
for at, _, names in os.walk(".incoming"):
    to = os.path.relpath(at, ".incoming")
    os.makedirs(to, exist_ok=True)
    for name in names:
        shutil.copyfile(os.path.join(at, name), os.path.join(to, name))
shutil.rmtree(".incoming")
`
)

func (d *Dialect) upload(w http.ResponseWriter, r *http.Request) error {
	s, caller := d.parts.Service, service.CallerOf(r.Context())
	form, err := r.MultipartReader()
	if err != nil {
		return refuse("the body must be multipart/form-data with a part file")
	}
	held := s.HoldBody(caller)
	defer held.Release()
	limits := s.LimitsOf(caller)
	run := job.Request{Code: keep, ResultTTL: new(limits.MaxResultTTL.Seconds())}
	bodies := (*service.BodyError)(nil)
	for {
		part, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // one that is wrapped is a form that ends early
			break
		}
		if errors.As(err, &bodies) {
			return bodies
		}
		if err != nil {
			return refuse("the form ended early, or is malformed")
		}
		if part.FileName() == "" {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(held.Reader(part), limits.MaxInputBytes+1))
		if errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &bodies) {
			return refuse("the form ended early, or is malformed")
		}
		if err != nil {
			return err
		}
		run.Files = append(run.Files, job.FileRequest{Path: inbox + path.Clean("/"+part.FileName()), Data: append([]byte{}, data...)})
	}
	if len(run.Files) == 0 {
		return refuse("the form has no file")
	}
	j, err := s.Execute(r.Context(), caller, service.Submission{Request: run})
	if err != nil {
		return err
	}
	files := []map[string]string{}
	for _, ref := range left(j) {
		files = append(files, map[string]string{"fileId": ref.ID, "filename": ref.Name, "id": ref.ID, "name": ref.Name, "storage_session_id": j.ID})
	}
	if len(files) < len(run.Files) {
		return fmt.Errorf("keep uploaded files: %w", job.ErrUnavailable)
	}
	dialect.WriteJSON(w, http.StatusOK, map[string]any{"message": "success", "session_id": j.ID, "storage_session_id": j.ID, "files": files})
	return nil
}

// jobOf returns a job of the caller that has ended.
func (d *Dialect) jobOf(r *http.Request, id string) (job.Job, error) {
	gone := dialect.NewFault(http.StatusNotFound, "session_not_found", "session not found")
	if !service.IsID(id) {
		return job.Job{}, gone
	}
	j, err := d.parts.Service.Job(r.Context(), service.CallerOf(r.Context()), id, 0)
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
		return j, gone
	}
	return j, err
}

func (d *Dialect) list(w http.ResponseWriter, r *http.Request) error {
	j, err := d.jobOf(r, r.PathValue("session"))
	if err != nil {
		return err
	}
	all := []map[string]any{}
	for i, ref := range left(j) {
		f := j.Result.Files[i]
		all = append(all, map[string]any{
			"id": ref.ID, "name": j.ID + "/" + ref.ID + path.Ext(ref.Name), "storage_session_id": j.ID, "session_id": j.ID, "size": f.Size,
			"lastModified": j.FinishedAt.UTC().Format(time.RFC3339Nano), "contentType": f.Type, "metadata": map[string]string{"original-filename": ref.Name},
		})
	}
	dialect.WriteJSON(w, http.StatusOK, all)
	return nil
}

func (d *Dialect) download(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r.PathValue("file"))
	if err != nil {
		return err
	}
	content, err := d.open(r, r.PathValue("session"), name)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	h := w.Header()
	dialect.Attachment(h)
	h.Set("Content-Disposition", `attachment; filename*=UTF-8''`+escaped(path.Base(name)))
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

// escaped writes a name as RFC 5987 does.
func escaped(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (d *Dialect) remove(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r.PathValue("file"))
	if err != nil {
		return err
	}
	if _, err := d.jobOf(r, r.PathValue("session")); err != nil {
		return err
	}
	if err := d.parts.Service.DeleteFile(r.Context(), service.CallerOf(r.Context()), r.PathValue("session"), name); err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, map[string]string{"message": "success"})
	return nil
}
