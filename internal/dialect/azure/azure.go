// Package azure speaks the protocol of the code interpreter sessions of Azure Container Apps (dynamic sessions):
// docs/dialects/azure.md.
package azure

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers executions and files of sessions. The identifier of a request is the name of a session of Kaa, which is opened
// when it is first used.
type Dialect struct {
	dialect.Plain
	parts dialect.Parts
	mux   *http.ServeMux
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	d := &Dialect{parts: p, mux: http.NewServeMux()}
	d.handle("POST /code/execute", d.execute)
	d.handle("POST /python/execute", d.execute)
	d.handle("POST /executions", d.executions)
	d.handle("POST /files/upload", d.upload)
	d.handle("POST /files", d.upload)
	d.handle("GET /files", d.list)
	d.handle("GET /files/content/{name...}", d.content)
	d.handle("GET /files/{rest...}", d.file)
	d.handle("DELETE /files/{rest...}", d.remove)
	d.handle("DELETE /session", d.end)
	d.handle("DELETE /files", nothing) // the mux would lead to /files/
	d.handle("/", nothing)
	return d
}

// nothing answers a route that there is not.
func nothing(http.ResponseWriter, *http.Request) error {
	return dialect.NewFault(http.StatusNotFound, "NotFound", "there is no such resource here")
}

func (d *Dialect) handle(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	_, route, found := strings.Cut(pattern, " ")
	if !found {
		route = pattern
	}
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation, call.Executes = route, strings.Trim(route, "/"), strings.HasSuffix(route, "/execute") || route == "/executions"
		if err := h(w, r); err != nil {
			d.Refuse(w, r, err)
		}
	})
}

// Key returns the API key of a request, which is in the place of a token of Microsoft Entra.
func (*Dialect) Key(r *http.Request) string { return dialect.AnyKey(r) }

// Body streams the files of an upload.
func (*Dialect) Body(r *http.Request) service.Body {
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/files") {
		return service.BodyStreamed
	}
	return service.BodyText
}

// failure is the answer to what is refused.
type failure struct {
	Error failureBody `json:"error"`
}

type failureBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Refuse answers with an error as Azure words it.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.parts.Log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, failure{failureBody{f.Code, f.Message}})
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !dialect.Straight(r) {
		d.Refuse(w, r, nothing(w, r))
		return
	}
	d.mux.ServeHTTP(w, r)
}

func refuse(message string) error {
	return dialect.NewFault(http.StatusBadRequest, "InvalidRequest", "%s", message)
}

// identifier has the form of the name of a session.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,127}$`)

// name reads the identifier of the query.
func name(r *http.Request) (string, error) {
	id := r.URL.Query().Get("identifier")
	if !identifier.MatchString(id) {
		return "", refuse("query parameter identifier must be a letter or digit, then letters, digits and any of . _ : @ ~ -, at most 128")
	}
	return id, nil
}

// session returns the session of a request; a new one if there is none.
func (d *Dialect) session(r *http.Request) (string, error) {
	id, err := name(r)
	if err != nil {
		return "", err
	}
	se, _, err := d.parts.Service.EnsureSession(r.Context(), service.CallerOf(r.Context()), id, job.SessionRequest{})
	return se.ID, err
}

// find returns the live session of a request; empty if there is none. What only reads opens none: a page of another site can have a
// browser send it.
func (d *Dialect) find(r *http.Request) (string, error) {
	id, err := name(r)
	if err != nil {
		return "", err
	}
	se, err := d.parts.Service.SessionNamed(r.Context(), service.CallerOf(r.Context()), id)
	if errors.Is(err, job.ErrNoSession) || err == nil && se.State == job.SessionEnded {
		return "", nil
	}
	return se.ID, err
}

// dataDir is the directory of a session's files there. It stands for the working directory.
const dataDir = "/mnt/data"

// AutoGen asks for the names of the installed packages with packagesAsked, before any code of its own. Pythons of today
// have no pkg_resources.
const (
	packagesAsked = "import pkg_resources\n[d.project_name for d in pkg_resources.working_set]"
	packagesFound = `[d.metadata["Name"] for d in __import__("importlib.metadata").metadata.distributions()]`
)

// placed is code as it is executed here.
func placed(code string) string {
	return strings.NewReplacer(dataDir, ".", packagesAsked, packagesFound).Replace(code)
}

// code is what is to be executed: in the properties of earlier versions of the protocol, or without them.
type code struct {
	Code       *string `json:"code"`
	PythonCode *string `json:"pythonCode"`
	Shell      string  `json:"shellCommand"`
	Timeout    float64 `json:"timeoutInSeconds"`
}

// run executes the code of a request in its session.
func (d *Dialect) run(r *http.Request) (j job.Job, err error) {
	var body struct {
		code
		Properties *code `json:"properties"`
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return j, err
	}
	asked := body.code
	if body.Properties != nil {
		asked = *body.Properties
	}
	text := cmp.Or(asked.Code, asked.PythonCode)
	if text == nil && strings.TrimSpace(asked.Shell) == "" {
		return j, refuse("code is required")
	}
	id, err := d.session(r)
	if err != nil {
		return j, err
	}
	request := job.Request{SessionID: id, Timeout: dialect.Timeout(r.Context(), d.parts.Service, asked.Timeout)}
	switch {
	case strings.TrimSpace(asked.Shell) != "":
		request.Command = placed(asked.Shell)
	case strings.TrimSpace(*text) == "":
		request.Code = "pass" // AutoGen loads its functions after a restart, also when it has none
	default:
		request.Code = placed(*text)
	}
	return d.parts.Service.Execute(r.Context(), service.CallerOf(r.Context()), service.Submission{Request: request})
}

// execute answers in the shape of the first versions.
func (d *Dialect) execute(w http.ResponseWriter, r *http.Request) error {
	j, err := d.run(r)
	if err != nil {
		return err
	}
	p := dialect.ProgramOf(j.Result)
	status := "Success"
	if failed(j.Result) {
		status = "Failure"
	}
	dialect.WriteJSON(w, http.StatusOK, map[string]any{"$id": "1", "properties": map[string]any{
		"$id": "2", "status": status, "stdout": p.Stdout, "stderr": p.Stderr, "result": valueOf(j.Result),
		"executionTimeInMilliseconds": p.Took.Milliseconds(),
	}})
	return nil
}

// executions answers in the shape of later versions, for code and for shells.
func (d *Dialect) executions(w http.ResponseWriter, r *http.Request) error {
	j, err := d.run(r)
	if err != nil {
		return err
	}
	p := dialect.ProgramOf(j.Result)
	id := r.URL.Query().Get("identifier")
	answer := map[string]any{"id": j.ID, "identifier": id, "sessionId": id, "executionType": "Synchronous"}
	result := map[string]any{"stdout": p.Stdout, "stderr": p.Stderr, "executionTimeInMilliseconds": p.Took.Milliseconds()}
	if j.Lane == job.LaneDefault {
		result["executionResult"] = valueOf(j.Result)
		answer["status"] = "Succeeded"
		if failed(j.Result) {
			answer["status"] = "Failed"
		}
	} else {
		answer["status"] = strconv.Itoa(p.ExitCode) // of a shell command
	}
	answer["result"] = result
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func failed(r *job.Result) bool { return r.Status != job.StatusOK }

// valueOf is the value of the last expression: a picture if it has or makes one, a number, or its text.
func valueOf(r *job.Result) any {
	var value any
	for _, v := range r.Results {
		if picture, ok := v.Data["image/png"]; ok {
			return map[string]any{"type": "image", "format": "png", "base64_data": picture}
		}
		var text string
		if v.Main && json.Unmarshal(v.Data["text/plain"], &text) == nil {
			value = text
			if number := json.Number(text); json.Valid([]byte(text)) && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') {
				value = number
			}
		}
	}
	return value
}

// fileView describes a file in the shapes of all versions.
type fileView struct {
	Name         string     `json:"name"`
	Size         int64      `json:"sizeInBytes"`
	LastModified time.Time  `json:"lastModifiedAt"`
	ContentType  string     `json:"contentType,omitempty"`
	Type         string     `json:"type"`
	Properties   properties `json:"properties"`
}

type properties struct {
	Filename     string    `json:"filename"`
	Size         int64     `json:"size"`
	LastModified time.Time `json:"lastModifiedTime"`
}

func viewOf(f job.SessionFile) fileView {
	at := f.Modified.UTC()
	return fileView{f.Path, f.Size, at, f.Type, "file", properties{f.Path, f.Size, at}}
}

// fileNamed is a path below the working directory, of one that may begin with dataDir.
func fileNamed(name string) string {
	return strings.TrimPrefix(path.Clean("/"+strings.TrimPrefix(name, dataDir)), "/")
}

func (d *Dialect) upload(w http.ResponseWriter, r *http.Request) error {
	if _, err := name(r); err != nil {
		return err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return refuse("the body must be multipart/form-data with a part file")
	}
	id, err := d.session(r)
	if err != nil {
		return err
	}
	var all []fileView
	for {
		part, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // one that is wrapped is a form that ends early
			break
		}
		if err != nil {
			return torn(err)
		}
		if part.FileName() == "" {
			continue
		}
		f, err := d.parts.Service.PutSessionFile(r.Context(), service.CallerOf(r.Context()), id, fileNamed(path.Join(r.URL.Query().Get("path"), part.FileName())), part)
		if err != nil {
			return torn(err)
		}
		all = append(all, viewOf(f))
	}
	if len(all) == 0 {
		return refuse("the form has no file")
	}
	dialect.WriteJSON(w, http.StatusOK, struct {
		ID    string     `json:"$id"`
		Value []fileView `json:"value"`
		fileView
	}{"1", all, all[0]})
	return nil
}

// torn words an error of reading a form.
func torn(err error) error {
	body, read := (*service.BodyError)(nil), (*service.ReadError)(nil)
	switch {
	case errors.As(err, &body):
		return body
	case errors.As(err, &read), errors.Is(err, io.ErrUnexpectedEOF), strings.HasPrefix(err.Error(), "multipart: "):
		return refuse("the form ended early, or is malformed")
	}
	return err
}

const filesAtOnce = 1000

func (d *Dialect) list(w http.ResponseWriter, r *http.Request) error {
	id, err := d.find(r)
	found := job.SessionFiles{}
	if err == nil && id != "" {
		found, err = d.parts.Service.SessionFiles(r.Context(), service.CallerOf(r.Context()), id, job.SessionFilesPage{Limit: filesAtOnce})
	}
	if err != nil {
		return err
	}
	all := make([]fileView, len(found.Files))
	for i, f := range found.Files {
		all[i] = viewOf(f)
	}
	dialect.WriteJSON(w, http.StatusOK, map[string]any{"$id": "1", "value": all})
	return nil
}

// file answers /files/<name>/content, and the description of a file at /files/<name>.
func (d *Dialect) file(w http.ResponseWriter, r *http.Request) error {
	if wanted, ok := strings.CutSuffix(r.PathValue("rest"), "/content"); ok {
		return d.send(w, r, wanted)
	}
	f, content, err := d.open(r, r.PathValue("rest"))
	if err != nil {
		return err
	}
	_ = content.Close()
	dialect.WriteJSON(w, http.StatusOK, viewOf(f))
	return nil
}

func (d *Dialect) content(w http.ResponseWriter, r *http.Request) error {
	return d.send(w, r, r.PathValue("name"))
}

func (d *Dialect) open(r *http.Request, wanted string) (job.SessionFile, io.ReadSeekCloser, error) {
	id, err := d.find(r)
	if err == nil && id == "" {
		err = gone(wanted)
	}
	if err != nil {
		return job.SessionFile{}, nil, err
	}
	f, content, err := d.parts.Service.OpenSessionFile(r.Context(), service.CallerOf(r.Context()), id, fileNamed(wanted))
	return f, content, noFile(wanted, err)
}

func noFile(wanted string, err error) error {
	switch dialect.FailureOf(err) { //nolint:exhaustive // the others are worded elsewhere
	case job.FailNoFile, job.FailIsDirectory, job.FailNotDirectory:
		return gone(wanted)
	}
	return err
}

func gone(wanted string) error {
	return dialect.NewFault(http.StatusNotFound, "FileNotFound", "the file %s was not found", url.PathEscape(wanted[:min(len(wanted), 128)]))
}

func (d *Dialect) send(w http.ResponseWriter, r *http.Request, wanted string) error {
	_, content, err := d.open(r, wanted)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	dialect.Attachment(w.Header())
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

func (d *Dialect) remove(w http.ResponseWriter, r *http.Request) error {
	wanted := r.PathValue("rest")
	id, err := d.find(r)
	if err == nil && id == "" {
		err = gone(wanted)
	}
	if err != nil {
		return err
	}
	err = d.parts.Service.RemoveSessionFile(r.Context(), service.CallerOf(r.Context()), id, fileNamed(wanted))
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return noFile(wanted, err)
}

// end ends a session. One that is not there has ended.
func (d *Dialect) end(w http.ResponseWriter, r *http.Request) error {
	id, err := name(r)
	if err == nil {
		_, err = d.parts.Service.CloseSessionNamed(r.Context(), service.CallerOf(r.Context()), id)
	}
	if errors.Is(err, job.ErrNoSession) || errors.Is(err, job.ErrSessionEnded) {
		err = nil
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
