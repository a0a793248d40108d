package daytona

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// toolbox begins the paths of the toolboxes.
const toolbox = "/toolbox/"

// box is the pattern of the paths of one toolbox.
const box = toolbox + "{id}"

func (d *Dialect) fileRoutes() {
	d.handle("GET "+box+"/user-home-dir", "getUserHomeDir", d.directory)
	d.handle("GET "+box+"/work-dir", "getWorkDir", d.directory)
	d.handle("GET "+box+"/project-dir", "getWorkDir", d.directory)
	d.handle("GET "+box+"/version", "getVersion", func(w http.ResponseWriter, _ *http.Request) error {
		return answerJSON(w, http.StatusOK, map[string]string{"version": "0.0.0"})
	})
	d.handle("GET "+box+"/files", "listFiles", d.listFiles)
	d.handle("GET "+box+"/files/info", "getFileInfo", d.fileInfo)
	d.handle("POST "+box+"/files/folder", "createFolder", d.makeFolder)
	d.handle("DELETE "+box+"/files", "deleteFile", d.deleteFile)
	d.handle("POST "+box+"/files/move", "moveFile", d.moveFile)
	d.handle("POST "+box+"/files/permissions", "setFilePermissions", d.setPermissions)
	d.handle("GET "+box+"/files/search", "searchFiles", d.searchFiles)
	d.handle("GET "+box+"/files/find", "findInFiles", d.findInFiles)
	d.handle("POST "+box+"/files/replace", "replaceInFiles", d.replaceInFiles)
	d.handle("POST "+box+"/files/bulk-upload", "uploadFiles", d.uploadMany)
	d.handle("POST "+box+"/files/bulk-download", "downloadFiles", d.downloadMany)
	d.handle("GET "+box+"/files/download", "downloadFile", d.downloadOne)
	d.handle("POST "+box+"/files/upload", "uploadFile", d.uploadForm)
	d.handle("POST "+box+"/files/upload-v2", "uploadFile", d.uploadOne)
}

// live returns the session that the toolbox of a request is of.
func (d *Dialect) live(r *http.Request) (job.Session, error) {
	se, err := d.find(r.Context(), r.PathValue("id"))
	if err == nil && !se.PausedAt.IsZero() && !se.AutoResume {
		err = job.ErrSessionPaused
	}
	return se, err
}

func (d *Dialect) directory(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"dir": homeOf(se)})
}

// fileView is an entry as the SDKs know it.
type fileView struct {
	Name        string `json:"name"`
	Path        string `json:"path,omitempty"` // of listings with a depth
	Size        int64  `json:"size"`
	IsDir       bool   `json:"isDir"`
	Mode        string `json:"mode"`
	ModTime     string `json:"modTime"`
	ModifiedAt  string `json:"modifiedAt"`
	Permissions string `json:"permissions"`
	Owner       string `json:"owner"`
	Group       string `json:"group"`
}

func viewOf(e job.Entry) fileView {
	bits, _ := strconv.ParseUint(e.Mode, 8, 32)
	kind := map[string]string{job.EntryDirectory: "d", job.EntryLink: "l", job.EntryPipe: "p", job.EntrySocket: "s", job.EntryDevice: "D"}[e.Type]
	if kind == "" {
		kind = "-"
	}
	modified := e.Modified.UTC().Format(time.RFC3339Nano)
	return fileView{
		Name: path.Base(e.Path), Size: e.Size, IsDir: e.Type == job.EntryDirectory || e.TargetType == job.EntryDirectory, Mode: kind + letters(uint32(bits)),
		ModTime: modified, ModifiedAt: modified, Permissions: fmt.Sprintf("%04o", bits), Owner: e.Owner, Group: e.Group,
	}
}

// letters writes permissions as ls does.
func letters(bits uint32) string {
	text := []byte("rwxrwxrwx")
	for i := range text {
		if bits&(1<<(len(text)-1-i)) == 0 {
			text[i] = '-'
		}
	}
	return string(text)
}

// fs does one thing with the files of the sandbox of a request.
func (d *Dialect) fs(r *http.Request, do job.FSRequest) (job.FSAnswer, error) {
	se, err := d.live(r)
	if err != nil {
		return job.FSAnswer{}, err
	}
	return d.service.SessionFS(r.Context(), service.CallerOf(r.Context()), se.ID, do)
}

// pathOf reads a parameter that is a path.
func pathOf(r *http.Request, name string) ([]byte, error) {
	text := r.URL.Query().Get(name)
	if !job.ValidAbsolute(text) {
		return nil, dialect.NewFault(http.StatusBadRequest, codeBadPath, "%s: send a path", name)
	}
	return []byte(text), nil
}

// modeOf reads permissions.
func modeOf(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, badRequest("mode: send permissions as octal digits, such as 0644")
	}
	return uint32(n), nil
}

const (
	// pageSize is how many entries are asked for at once, and mostEntries how many a listing has at most.
	pageSize, mostEntries = 1000, 100_000
	// mostPaths is how many bytes their paths may have together: a listing is in memory as a whole.
	mostPaths = 16 << 20
)

// entries passes on the entries below a directory.
func (d *Dialect) entries(ctx context.Context, session string, dir []byte, depth int, use func(job.Entry)) error {
	do := job.FSRequest{Do: job.FSList, Path: dir, Depth: depth, Limit: pageSize}
	bytes := 0
	for n := 0; n < mostEntries; n += pageSize {
		a, err := d.service.SessionFS(ctx, service.CallerOf(ctx), session, do)
		if err != nil {
			return err
		}
		for _, e := range a.Entries.Entries {
			use(e)
			bytes += len(e.Path) + len(e.Target)
		}
		if bytes > mostPaths {
			return badRequest("there are too many entries for one list; list a part of them")
		}
		if !a.Entries.More || len(a.Entries.Entries) == 0 {
			return nil
		}
		do.After = []byte(a.Entries.Entries[len(a.Entries.Entries)-1].RawPath())
	}
	return nil
}

func (d *Dialect) listFiles(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	dir := firstText(r.URL.Query().Get("path"), homeOf(se))
	depth := 1
	if n, err := strconv.Atoi(r.URL.Query().Get("depth")); err == nil {
		depth = min(max(n, 1), 200)
	}
	views := []fileView{}
	err = d.entries(r.Context(), se.ID, []byte(dir), depth, func(e job.Entry) {
		view := viewOf(e)
		if depth > 1 {
			view.Path = e.Path
		}
		views = append(views, view)
	})
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, views)
}

func (d *Dialect) fileInfo(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r, "path")
	if err != nil {
		return err
	}
	a, err := d.fs(r, job.FSRequest{Do: job.FSStat, Path: name})
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, viewOf(a.Entry))
}

// hasCode reports whether an operation has failed for a reason.
func hasCode(err error, code job.FailureCode) bool {
	end, ok := errors.AsType[*service.EndError](err)
	return ok && end.Job.Failure != nil && end.Job.Failure.Code == code
}

func (d *Dialect) makeFolder(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r, "path")
	if err != nil {
		return err
	}
	mode, err := modeOf(firstText(r.URL.Query().Get("mode"), "755"))
	if err != nil {
		return err
	}
	_, err = d.fs(r, job.FSRequest{Do: job.FSMakeDir, Path: name, Mode: mode, Parents: true})
	if hasCode(err, job.FailFileExists) { // a directory that is there is no error
		if a, stat := d.fs(r, job.FSRequest{Do: job.FSStat, Path: name}); stat == nil && a.Entry.Type == job.EntryDirectory {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (d *Dialect) deleteFile(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r, "path")
	if err != nil {
		return err
	}
	recursive := r.URL.Query().Get("recursive") == "true"
	if !recursive {
		a, err := d.fs(r, job.FSRequest{Do: job.FSStat, Path: name})
		if err != nil {
			return err
		}
		if a.Entry.Type == job.EntryDirectory {
			return badRequest("it is a directory; delete it with recursive")
		}
	}
	if _, err := d.fs(r, job.FSRequest{Do: job.FSRemove, Path: name, Recursive: recursive}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Dialect) moveFile(w http.ResponseWriter, r *http.Request) error {
	from, err := pathOf(r, "source")
	if err != nil {
		return err
	}
	to, err := pathOf(r, "destination")
	if err != nil {
		return err
	}
	if _, err := d.fs(r, job.FSRequest{Do: job.FSMove, Path: from, To: to, Parents: true}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// setPermissions changes the mode. The owner of all files is the user of the code, whatever name it is given.
func (d *Dialect) setPermissions(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r, "path")
	if err != nil {
		return err
	}
	do := job.FSRequest{Do: job.FSStat, Path: name}
	if text := strings.TrimSpace(r.URL.Query().Get("mode")); text != "" {
		mode, err := modeOf(text)
		if err != nil {
			return err
		}
		do = job.FSRequest{Do: job.FSChmod, Path: name, Mode: mode}
	}
	if _, err := d.fs(r, do); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
