package api

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The paths of the operations on all files of a session. They are apart from those on its working directory, whose paths
// end in the path of a file.
const (
	fsEntry     = "fs/entry"
	fsEntries   = "fs/entries"
	fsContent   = "fs/content"
	fsArchive   = "fs/archive"
	fsDirectory = "fs/directory"
	fsMove      = "fs/move"
	fsCopy      = "fs/copy"

	fsPath = "/v1/sessions/{id}/"
	fsTag  = "Files of sessions"
)

// fsInput names an entry. Its path is in the query, so that it may be of any bytes.
type fsInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
}

type fsListInput struct {
	ID     string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path   string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
	Depth  int    `query:"depth" minimum:"1" maximum:"200" default:"1" doc:"Levels below the directory."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"Entries per page."`
	Cursor string `query:"cursor" maxLength:"8192" doc:"nextCursor of the page before."`
}

type fsListOutput struct {
	Body struct {
		Entries    []job.Entry `json:"entries" nullable:"false" doc:"All entries below the directory, depth-first and by name. Links are not followed."`
		Incomplete bool        `json:"incomplete,omitempty" doc:"There is more than is looked at, or a directory that the code may not read."`
		NextCursor string      `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

type fsReadInput struct {
	ID      string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path    string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
	Range   string `header:"Range" maxLength:"200" doc:"One range of bytes, such as bytes=0-1023 or bytes=-1024."`
	IfRange string `header:"If-Range" maxLength:"200" doc:"Range is ignored if this is given."`
}

type fsWriteInput struct {
	ID      string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path    string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
	Mode    string `query:"mode" maxLength:"5" pattern:"^0?[0-7]{3}$" doc:"Permissions as octal digits. Default: those of the file that is replaced, or 0644."`
	Replace bool   `query:"replace" default:"true" doc:"Whether an existing file is replaced."`
	Parents bool   `query:"parents" default:"true" doc:"Whether missing directories are made."`
}

type fsDirectoryInput struct {
	ID      string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path    string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
	Mode    string `query:"mode" maxLength:"5" pattern:"^0?[0-7]{3}$" default:"0755" doc:"Permissions as octal digits."`
	Parents bool   `query:"parents" default:"true" doc:"Whether missing directories above it are made."`
}

type fsModeInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
	Mode string `query:"mode" required:"true" maxLength:"5" pattern:"^0?[0-7]{3}$" doc:"Permissions as octal digits, such as 0755."`
}

type fsRemoveInput struct {
	ID        string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path      string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, such as /work/a or /tmp/b; or a path below the working directory."`
	Recursive bool   `query:"recursive" doc:"Whether a directory is removed with its entries."`
	Missing   bool   `query:"missing" doc:"Whether it is no error if there is no such entry."`
}

type fsMoveInput struct {
	ID      string `path:"id" maxLength:"64" doc:"Id of the session."`
	From    string `query:"from" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path, or a path below the working directory."`
	To      string `query:"to" required:"true" minLength:"1" maxLength:"4096" doc:"The same: the new path, not the directory in which it is."`
	Replace bool   `query:"replace" doc:"Whether an existing file is replaced."`
	Parents bool   `query:"parents" doc:"Whether missing directories are made."`
}

type fsEntryOutput struct{ Body job.Entry }

type fsArchiveOutput struct {
	Body struct {
		Entries int   `json:"entries" doc:"Entries of the archive."`
		Bytes   int64 `json:"bytes" doc:"Bytes of its files."`
	}
}

func (s *server) registerSessionFS() {
	reading := []int{400, 401, 403, 404, 409, 410, 429, 502, 503, 504}
	changing := append([]int{408, 413, 415, 507}, reading...)
	op := func(id, method, path, summary, description string, errs []int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: fsPath + path, Tags: []string{sessionsTag, fsTag}, Summary: summary, Description: description, Errors: errs}
	}
	register(s, op("statSessionEntry", http.MethodGet, fsEntry, "Describe a file or directory of a session", "A link is described as such.", reading), s.statEntry)
	register(s, op("listSessionEntries", http.MethodGet, fsEntries, "List a directory of a session", "Depth-first, by name.", reading), s.listEntries)
	read := op("readSessionContent", http.MethodGet, fsContent, "Read a file of a session", "The file, or the range of it that is asked for. Links are followed.", append([]int{416}, reading...))
	read.Responses = anyFile()
	delete(read.Responses, "304")
	register(s, read, s.readContent)
	register(s, op("writeSessionContent", http.MethodPut, fsContent, "Write a file of a session", "The body is the file, perhaps compressed with gzip (Content-Encoding). An existing file is replaced in one step.", changing), s.writeContent)
	s.registerWriteMany(op("writeSessionContents", http.MethodPost, fsContent, "Write files of a session", "As JSON, or as a form; perhaps compressed with gzip (Content-Encoding). One after the other; if one is refused, those before it stay.", changing))
	register(s, op("makeSessionDirectory", http.MethodPost, fsDirectory, "Make a directory in a session", "409 file_exists if there is an entry of that name.", changing), s.makeDirectory)
	register(s, op("changeSessionEntry", http.MethodPatch, fsEntry, "Change the permissions of a file or directory of a session", "Links are followed.", reading), s.changeEntry)
	register(s, op("moveSessionEntry", http.MethodPost, fsMove, "Move a file or directory of a session", "In one step within one file system; between /work and /tmp it is copied and removed.", changing), s.moveEntry)
	register(s, op("copySessionEntry", http.MethodPost, fsCopy, "Copy a file or directory of a session", "With permissions; links as links.", changing), s.copyEntry)
	remove := op("removeSessionEntry", http.MethodDelete, fsEntry, "Remove a file or directory of a session", "A link is removed as such.", reading)
	remove.DefaultStatus = http.StatusNoContent
	register(s, remove, s.removeEntry)
	pack := op("packSessionDirectory", http.MethodGet, fsArchive, "Download a directory of a session", "As a tar archive.", reading)
	pack.Responses = map[string]*huma.Response{"200": {Description: "The archive.", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
	register(s, pack, s.packDirectory)
	register(s, op("unpackSessionDirectory", http.MethodPut, fsArchive, "Unpack an archive into a directory of a session", "The body is a tar archive, perhaps compressed with gzip. Entries before one that is refused stay.", changing), s.unpackDirectory)
	for _, path := range []string{fsContent, fsArchive} {
		s.api.OpenAPI().Paths[fsPath+path].Put.RequestBody = &huma.RequestBody{ // not required: a file may be empty
			Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}
	}
}

// modeOf reads permissions, which the schema has checked.
func modeOf(text string) uint32 {
	mode, _ := strconv.ParseUint(text, 8, 32)
	return uint32(mode)
}

// fs does one thing that moves no content, and answers with the entry.
func (s *server) fs(ctx context.Context, session string, r job.FSRequest) (*fsEntryOutput, error) {
	a, err := s.cfg.Service.SessionFS(ctx, service.CallerOf(ctx), session, r)
	if err != nil {
		return nil, err
	}
	return &fsEntryOutput{a.Entry}, nil
}

func (s *server) statEntry(ctx context.Context, in *fsInput) (*fsEntryOutput, error) {
	return s.fs(ctx, in.ID, job.FSRequest{Do: job.FSStat, Path: []byte(in.Path)})
}

func (s *server) changeEntry(ctx context.Context, in *fsModeInput) (*fsEntryOutput, error) {
	return s.fs(ctx, in.ID, job.FSRequest{Do: job.FSChmod, Path: []byte(in.Path), Mode: modeOf(in.Mode)})
}

func (s *server) makeDirectory(ctx context.Context, in *fsDirectoryInput) (*fsEntryOutput, error) {
	return s.fs(ctx, in.ID, job.FSRequest{Do: job.FSMakeDir, Path: []byte(in.Path), Mode: modeOf(in.Mode), Parents: in.Parents})
}

func (s *server) moveEntry(ctx context.Context, in *fsMoveInput) (*fsEntryOutput, error) {
	return s.fs(ctx, in.ID, job.FSRequest{Do: job.FSMove, Path: []byte(in.From), To: []byte(in.To), Replace: in.Replace, Parents: in.Parents})
}

func (s *server) copyEntry(ctx context.Context, in *fsMoveInput) (*fsEntryOutput, error) {
	return s.fs(ctx, in.ID, job.FSRequest{Do: job.FSCopy, Path: []byte(in.From), To: []byte(in.To), Replace: in.Replace, Parents: in.Parents})
}

func (s *server) removeEntry(ctx context.Context, in *fsRemoveInput) (*struct{}, error) {
	_, err := s.fs(ctx, in.ID, job.FSRequest{Do: job.FSRemove, Path: []byte(in.Path), Recursive: in.Recursive})
	if ended, ok := errors.AsType[*service.EndError](err); ok && in.Missing && ended.Job.Failure != nil && ended.Job.Failure.Code == job.FailNoFile {
		return nil, nil //nolint:nilnil // 204
	}
	return nil, err
}

func (s *server) listEntries(ctx context.Context, in *fsListInput) (*fsListOutput, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		const msg = "is not a cursor; send the nextCursor of the page before"
		return nil, badRequest("query.cursor: "+msg, FieldIssue{"query.cursor", msg})
	}
	a, err := s.cfg.Service.SessionFS(ctx, service.CallerOf(ctx), in.ID, job.FSRequest{Do: job.FSList, Path: []byte(in.Path), Depth: in.Depth, Limit: in.Limit, After: after})
	if err != nil {
		return nil, err
	}
	out := new(fsListOutput)
	out.Body.Entries, out.Body.Incomplete = a.Entries.Entries, a.Entries.Incomplete
	if out.Body.Entries == nil {
		out.Body.Entries = []job.Entry{}
	}
	if n := len(a.Entries.Entries); a.Entries.More && n > 0 {
		out.Body.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(a.Entries.Entries[n-1].RawPath()))
	}
	return out, nil
}

func (s *server) readContent(ctx context.Context, in *fsReadInput) (*huma.StreamResponse, error) {
	offset, length, part := rangeOf(in.Range)
	if in.IfRange != "" {
		offset, length, part = 0, -1, false // the whole is always right
	}
	a, content, err := s.cfg.Service.ReadSessionFS(ctx, service.CallerOf(ctx), in.ID, job.FSRequest{Do: job.FSRead, Path: []byte(in.Path), Offset: offset, Length: length})
	if err != nil {
		return nil, err
	}
	if part && a.Length == 0 {
		_ = content.Close()
		return nil, newProblem(http.StatusRequestedRangeNotSatisfiable, "range_not_satisfiable", fmt.Sprintf("the file has %d bytes; ask for some of these", a.Entry.Size))
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Accept-Ranges", "bytes")
		status := http.StatusOK
		if part {
			status = http.StatusPartialContent
			hc.SetHeader("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a.Offset, a.Offset+a.Length-1, a.Entry.Size))
		}
		hc.SetHeader("Last-Modified", a.Entry.Modified.Format(http.TimeFormat))
		sendContent(hc, status, a, path.Base(a.Entry.RawPath()), content)
	}}, nil
}

// sendContent answers with a content, which it closes.
func sendContent(hc huma.Context, status int, a job.FSAnswer, name string, content io.ReadCloser) {
	defer content.Close()
	// A browser must not show a file that the code made: a page would act as this site.
	for key, value := range map[string]string{
		"Content-Type": a.Type, "Content-Length": strconv.FormatInt(a.Length, 10), "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'", "Content-Disposition": "attachment; filename*=UTF-8''" + attributeEscape(name),
		"Cache-Control": "no-store",
	} {
		hc.SetHeader(key, value)
	}
	hc.SetStatus(status)
	if !service.CallOf(hc.Context()).HeadOnly {
		_, _ = io.Copy(hc.BodyWriter(), content) // a caller that has gone needs nothing
	}
}

// rangeOf reads one range of bytes, as job.FSRequest has it. Other forms mean the whole, as RFC 9110 allows.
func rangeOf(header string) (offset, length int64, part bool) {
	text, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(text), "-")
	if !ok || !dash || strings.Contains(text, ",") {
		return 0, -1, false
	}
	begin, beginErr := strconv.ParseInt(first, 10, 64)
	end, endErr := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "" && endErr == nil && end > 0:
		return -end, -1, true
	case beginErr == nil && begin >= 0 && last == "":
		return begin, -1, true
	case beginErr == nil && endErr == nil && begin >= 0 && end >= begin:
		return begin, end - begin + 1, true
	}
	return 0, -1, false
}

func (s *server) writeContent(ctx context.Context, in *fsWriteInput) (*fsEntryOutput, error) {
	a, err := s.cfg.Service.WriteSessionFS(ctx, service.CallerOf(ctx), in.ID,
		job.FSRequest{Do: job.FSWrite, Path: []byte(in.Path), Mode: modeOf(in.Mode), Replace: in.Replace, Parents: in.Parents}, streamOf(ctx))
	if err != nil {
		return nil, err
	}
	return &fsEntryOutput{a.Entry}, nil
}

func (s *server) packDirectory(ctx context.Context, in *fsInput) (*huma.StreamResponse, error) {
	a, content, err := s.cfg.Service.ReadSessionFS(ctx, service.CallerOf(ctx), in.ID, job.FSRequest{Do: job.FSPack, Path: []byte(in.Path)})
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		sendContent(hc, http.StatusOK, a, path.Base(path.Clean("/"+in.Path))+".tar", content)
	}}, nil
}

func (s *server) unpackDirectory(ctx context.Context, in *fsInput) (*fsArchiveOutput, error) {
	a, err := s.cfg.Service.WriteSessionFS(ctx, service.CallerOf(ctx), in.ID, job.FSRequest{Do: job.FSUnpack, Path: []byte(in.Path)}, streamOf(ctx))
	if err != nil {
		return nil, err
	}
	out := new(fsArchiveOutput)
	out.Body.Entries, out.Body.Bytes = a.Files, a.Bytes
	return out, nil
}

// unpacking is a body that is compressed with gzip, with a bound of its size when it is unpacked.
type unpacking struct {
	r       io.Reader
	z       *gzip.Reader
	n, most int64
}

func (u *unpacking) Read(p []byte) (int, error) {
	if u.z == nil {
		z, err := gzip.NewReader(u.r)
		if err != nil {
			return 0, gzipError(err)
		}
		u.z = z
	}
	n, err := gunzip{u.z}.Read(p)
	if u.n += int64(n); u.n > u.most {
		return 0, &service.BodyError{Fault: service.BodyTooLarge, Limit: u.most}
	}
	return n, err
}
