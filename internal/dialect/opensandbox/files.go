package opensandbox

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// files adds the routes of the daemon's file system.
func (d *Dialect) files() {
	d.handle("GET "+daemonPath+"/files/info", "filesInfo", d.filesInfo)
	d.handle("DELETE "+daemonPath+"/files", "removeFiles", func(w http.ResponseWriter, r *http.Request) error { return d.remove(w, r, false) })
	d.handle("DELETE "+daemonPath+"/directories", "removeDirectories", func(w http.ResponseWriter, r *http.Request) error { return d.remove(w, r, true) })
	d.handle("POST "+daemonPath+"/files/permissions", "chmodFiles", d.chmod)
	d.handle("POST "+daemonPath+"/files/mv", "moveFiles", d.move)
	d.handle("GET "+daemonPath+"/files/search", "searchFiles", d.search)
	d.handle("POST "+daemonPath+"/files/replace", "replaceContent", d.replace)
	d.handle("POST "+daemonPath+uploadEnd, "uploadFiles", d.upload)
	d.handle("GET "+daemonPath+"/files/download", "downloadFile", d.download)
	d.handle("POST "+daemonPath+"/directories", "makeDirectories", d.makeDirectories)
	d.handle("GET "+daemonPath+"/directories/list", "listDirectory", d.listDirectory)
}

// fileInfo describes an entry. The mode is written in octal digits and read as a decimal number: 644.
type fileInfo struct {
	Path     string    `json:"path"`
	Type     string    `json:"type"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified_at"`
	Created  time.Time `json:"created_at"`
	Owner    string    `json:"owner"`
	Group    string    `json:"group"`
	Mode     int64     `json:"mode"`
}

func infoOf(e job.Entry) fileInfo {
	kind := e.Type
	switch kind {
	case job.EntryLink:
		kind = "symlink"
	case job.EntryPipe, job.EntrySocket, job.EntryDevice:
		kind = "other"
	}
	mode, _ := strconv.ParseInt(e.Mode, 10, 64) // Kaa writes digits
	return fileInfo{Path: e.Path, Type: kind, Size: e.Size, Modified: e.Modified.UTC(), Created: e.Changed.UTC(), Owner: e.Owner, Group: e.Group, Mode: mode}
}

// modeOf reads a mode that is written as a decimal number; 0 for none.
func modeOf(decimal *int64) (uint32, error) {
	if decimal == nil || *decimal == 0 {
		return 0, nil
	}
	mode, err := strconv.ParseUint(strconv.FormatInt(*decimal, 10), 8, 12)
	if err != nil {
		return 0, invalid("mode must be octal digits, such as 644")
	}
	return uint32(mode), nil
}

// fs does one thing with the files of the sandbox.
func (d *Dialect) fs(r *http.Request, request job.FSRequest) (job.FSAnswer, error) {
	return d.service.SessionFS(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), request)
}

// isNoFile reports whether an error says that there is no such file.
func isNoFile(err error) bool { return dialect.FailureOf(err) == job.FailNoFile }

// noFile words an error about a file.
func noFile(name string, err error) error {
	switch code := dialect.FailureOf(err); code { //nolint:exhaustive // the others are worded elsewhere
	case job.FailNoFile:
		return dialect.NewFault(http.StatusNotFound, "file_not_found", "file not found: %s", clipped(name))
	case job.FailIsDirectory, job.FailNotDirectory:
		return dialect.NewFault(http.StatusBadRequest, "invalid_file", "%s: %s", clipped(name), strings.ReplaceAll(string(code), "_", " "))
	}
	return err
}

// pathOf reads the parameter that names a file.
func pathOf(r *http.Request) (string, error) {
	name := r.URL.Query().Get("path")
	if name == "" {
		return "", dialect.NewFault(http.StatusBadRequest, "missing_query", "missing query parameter 'path'")
	}
	return name, nil
}

func (d *Dialect) filesInfo(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	found := map[string]fileInfo{}
	for _, name := range r.URL.Query()["path"] {
		a, err := d.fs(r, job.FSRequest{Do: job.FSStat, Path: []byte(name)})
		if err != nil {
			return noFile(name, err)
		}
		info := infoOf(a.Entry)
		info.Path = name
		found[name] = info
	}
	dialect.WriteJSON(w, http.StatusOK, found)
	return nil
}

// remove deletes entries. One that is not there is deleted already.
func (d *Dialect) remove(w http.ResponseWriter, r *http.Request, recursive bool) error {
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	for _, name := range r.URL.Query()["path"] {
		_, err := d.fs(r, job.FSRequest{Do: job.FSRemove, Path: []byte(name), Recursive: recursive})
		if err != nil && !isNoFile(err) {
			return noFile(name, err)
		}
	}
	done(w)
	return nil
}

// permission is the mode of an entry. Its owner is always the user of the code.
type permission struct {
	Mode *int64 `json:"mode"`
}

// change does one thing with each of the entries of the body.
func (d *Dialect) change(w http.ResponseWriter, r *http.Request, what string, parents bool) error {
	var body map[string]permission
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	for name, p := range body {
		mode, err := modeOf(p.Mode)
		if err == nil && what == job.FSChmod && mode == 0 {
			continue
		}
		if err == nil {
			_, err = d.fs(r, job.FSRequest{Do: what, Path: []byte(name), Mode: mode, Parents: parents})
		}
		if err != nil {
			return noFile(name, err)
		}
	}
	done(w)
	return nil
}

func (d *Dialect) chmod(w http.ResponseWriter, r *http.Request) error {
	return d.change(w, r, job.FSChmod, false)
}

func (d *Dialect) makeDirectories(w http.ResponseWriter, r *http.Request) error {
	return d.change(w, r, job.FSMakeDir, true)
}

func (d *Dialect) move(w http.ResponseWriter, r *http.Request) error {
	var body []struct{ Src, Dest string }
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	for _, item := range body {
		if item.Src == "" || item.Dest == "" {
			return invalid("src and dest are required")
		}
		if _, err := d.fs(r, job.FSRequest{Do: job.FSMove, Path: []byte(item.Src), To: []byte(item.Dest), Replace: true}); err != nil {
			return noFile(item.Src, err)
		}
	}
	done(w)
	return nil
}

// Bounds of listings of files.
const (
	entriesAtOnce = 1000
	mostEntries   = 20000
	deepest       = 200
)

// walk calls visit for the entries below a directory, as many as there may be.
func (d *Dialect) walk(r *http.Request, root string, depth int, visit func(job.Entry)) error {
	request := job.FSRequest{Do: job.FSList, Path: []byte(root), Depth: depth, Limit: entriesAtOnce}
	for seen := 0; seen < mostEntries; {
		a, err := d.fs(r, request)
		if err != nil {
			return noFile(root, err)
		}
		all := a.Entries.Entries
		for _, e := range all {
			visit(e)
		}
		if seen += len(all); !a.Entries.More || len(all) == 0 {
			break
		}
		request.After = []byte(all[len(all)-1].RawPath())
	}
	return nil
}

func (d *Dialect) listDirectory(w http.ResponseWriter, r *http.Request) error {
	root, err := pathOf(r)
	if err != nil {
		return err
	}
	depth, err := number(r, "depth", 0, 1)
	if err != nil {
		return err
	}
	all := []fileInfo{}
	if depth > 0 {
		err = d.walk(r, root, int(min(depth, deepest)), func(e job.Entry) { all = append(all, infoOf(e)) })
	} else {
		_, err = d.sandbox(r)
	}
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, all)
	}
	return err
}

func (d *Dialect) search(w http.ResponseWriter, r *http.Request) error {
	root, err := pathOf(r)
	if err != nil {
		return err
	}
	pattern := r.URL.Query().Get("pattern")
	if pattern == "" || pattern == "**" {
		pattern = "*"
	}
	pattern = strings.TrimPrefix(pattern, "**/")
	if _, err := path.Match(pattern, ""); err != nil {
		return invalid("query parameter pattern is not a glob")
	}
	all := []fileInfo{}
	err = d.walk(r, root, deepest, func(e job.Entry) {
		if ok, _ := path.Match(pattern, path.Base(e.Path)); ok && e.Type != job.EntryDirectory {
			all = append(all, infoOf(e))
		}
	})
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, all)
	}
	return err
}

// read opens a file of the sandbox. The content is to be closed.
func (d *Dialect) read(r *http.Request, name string) (job.FSAnswer, io.ReadSeekCloser, error) {
	a, content, err := d.service.ReadSessionFS(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), job.FSRequest{Do: job.FSRead, Path: []byte(name), Length: -1})
	return a, content, noFile(name, err)
}

// write puts a file into the sandbox.
func (d *Dialect) write(r *http.Request, name string, mode uint32, content io.Reader) error {
	_, err := d.service.WriteSessionFS(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"),
		job.FSRequest{Do: job.FSWrite, Path: []byte(name), Mode: mode, Replace: true, Parents: true}, content)
	return noFile(name, err)
}

func (d *Dialect) replace(w http.ResponseWriter, r *http.Request) error {
	var body map[string]struct{ Old, New string }
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	counts := map[string]map[string]int{}
	for name, item := range body {
		if item.Old == "" {
			return invalid("old content must not be empty")
		}
		n, err := d.replaceIn(r, name, item.Old, item.New)
		if err != nil {
			return err
		}
		counts[name] = map[string]int{"replacedCount": n}
	}
	if r.URL.Query().Get("verbose") == "true" {
		dialect.WriteJSON(w, http.StatusOK, counts)
		return nil
	}
	done(w)
	return nil
}

// replaceIn replaces a text in a file, and returns how often it was there. The bytes of the file count as those of a body.
func (d *Dialect) replaceIn(r *http.Request, name, old, text string) (int, error) {
	a, content, err := d.read(r, name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = content.Close() }()
	held := d.service.HoldBody(service.CallerOf(r.Context()))
	defer held.Release()
	before, err := io.ReadAll(held.Reader(content))
	if err != nil {
		return 0, err
	}
	n := strings.Count(string(before), old)
	if n == 0 {
		return 0, nil
	}
	if err := held.Hold(int64(len(before) + n*max(0, len(text)-len(old)))); err != nil {
		return 0, err
	}
	mode, err := strconv.ParseUint(a.Entry.Mode, 8, 12)
	if err != nil {
		mode = 0
	}
	return n, d.write(r, name, uint32(mode), strings.NewReader(strings.ReplaceAll(string(before), old, text)))
}

// upload takes parts by turns: the description of a file, and its content.
func (d *Dialect) upload(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return invalid("the body must be multipart/form-data")
	}
	name, mode := "", uint32(0)
	for {
		part, err := parts.NextPart()
		if err == io.EOF { //nolint:errorlint // one that is wrapped is a form that ends early
			break
		}
		if err != nil {
			return cut(err)
		}
		switch part.FormName() {
		case "metadata":
			name, mode, err = describedFile(part)
		case "file":
			if name == "" {
				return dialect.NewFault(http.StatusBadRequest, "invalid_file_metadata", "each file needs a part metadata with its path before it")
			}
			err = cut(d.write(r, name, mode, part))
			name = ""
		}
		if err != nil {
			return err
		}
	}
	done(w)
	return nil
}

// cut words an error of reading a form.
func cut(err error) error {
	body, read := (*service.BodyError)(nil), (*service.ReadError)(nil)
	if err == nil || errors.As(err, &body) {
		return err
	}
	if errors.As(err, &read) || dialect.FailureOf(err) == "" && errors.Is(err, io.ErrUnexpectedEOF) || strings.HasPrefix(err.Error(), "multipart: ") {
		return invalid("the form ended early, or is malformed")
	}
	return err
}

// mostDescription is the largest description of a file.
const mostDescription = 64 << 10

func describedFile(part io.Reader) (name string, mode uint32, err error) {
	var described struct {
		Path string
		Mode *int64
	}
	if err := dialect.ReadJSON(&http.Request{Body: io.NopCloser(io.LimitReader(part, mostDescription))}, &described); err != nil {
		return "", 0, err
	}
	if described.Path == "" {
		return "", 0, dialect.NewFault(http.StatusBadRequest, "invalid_file_metadata", "metadata.path is required")
	}
	mode, err = modeOf(described.Mode)
	return described.Path, mode, err
}

func (d *Dialect) download(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r)
	if err != nil {
		return err
	}
	offset, err := number(r, "offset", 1, 0)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 1, 0)
	if err != nil {
		return err
	}
	a, content, err := d.read(r, name)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	if offset > 0 || limit > 0 {
		writeLines(w, content, max(offset, 1), limit)
		return nil
	}
	dialect.Attachment(w.Header())
	http.ServeContent(w, r, "", a.Entry.Modified, content)
	return nil
}

// writeLines writes lines from one on, counted from 1; limit 0 is all.
func writeLines(w http.ResponseWriter, content io.Reader, from, limit int64) {
	dialect.Attachment(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	lines := bufio.NewReaderSize(content, 64<<10)
	for n := int64(1); limit == 0 || n < from+limit; {
		piece, err := lines.ReadSlice('\n')
		if n >= from {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		if err == nil {
			n++
		}
	}
}
