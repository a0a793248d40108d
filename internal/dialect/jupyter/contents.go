package jupyter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The contents are the files of the kernels: the root has a directory for each kernel, with its id as the name, which is
// the kernel's working directory.

// The types and formats of contents.
const (
	typeDirectory = "directory"
	typeNotebook  = "notebook"
	typeFile      = "file"

	formatText   = "text"
	formatBase64 = "base64"
	formatJSON   = "json"
)

// mostContent bounds a file that is answered inside JSON.
const mostContent = 16 << 20

// answerCopies is how many times an answer has a file or a path while it is made and written, and entryBytes what an
// entry of a list has besides.
const answerCopies, entryBytes = 5, 1 << 10

func (d *Dialect) contentRoutes() {
	d.handle("GET /api/contents", "getContents", d.listRoot)
	d.handle("GET /api/contents/{path...}", "getContents", d.getContents)
	d.handle("PUT /api/contents/{path...}", "putContents", d.putContents)
	d.handle("POST /api/contents/{path...}", "makeContents", d.makeContents)
	d.handle("PATCH /api/contents/{path...}", "moveContents", d.moveContents)
	d.handle("DELETE /api/contents/{path...}", "deleteContents", d.deleteContents)
}

// contentModel is a file or a directory as Jupyter knows it.
type contentModel struct {
	Name         string  `json:"name"`
	Path         string  `json:"path"`
	Type         string  `json:"type"`
	Writable     bool    `json:"writable"`
	Created      string  `json:"created"`
	LastModified string  `json:"last_modified"`
	Size         *int64  `json:"size"`
	MIMEType     *string `json:"mimetype"`
	Content      any     `json:"content"`
	Format       *string `json:"format"`
}

func (d *Dialect) listRoot(w http.ResponseWriter, r *http.Request) error {
	root := contentModel{Type: typeDirectory, Created: stamp(d.begun), LastModified: stamp(d.begun)}
	if r.URL.Query().Get("content") != "0" {
		all, err := d.kernels(r)
		if err != nil {
			return err
		}
		entries := []contentModel{}
		for _, se := range all {
			entries = append(entries, rootOf(se))
		}
		root.Content, root.Format = entries, new(formatJSON)
	}
	dialect.WriteJSON(w, http.StatusOK, root)
	return nil
}

// rootOf is the directory of a kernel.
func rootOf(se job.Session) contentModel {
	return contentModel{Name: se.ID, Path: se.ID, Type: typeDirectory, Writable: true, Created: stamp(se.CreatedAt), LastModified: stamp(se.LastUsed)}
}

// place is where contents are: in the working directory of a kernel.
type place struct {
	se   job.Session
	path string // below the directory; empty is the directory
}

// bytes is the path for the service.
func (p place) bytes() []byte {
	if p.path == "" {
		return []byte(".")
	}
	return []byte(p.path)
}

// full is the path as Jupyter knows it.
func (p place) full() string { return path.Join(p.se.ID, p.path) }

func (p place) below(name string) place { return place{p.se, path.Join(p.path, name)} }

// placeOf reads a path. The first name is that of the kernel.
func (d *Dialect) placeOf(r *http.Request, text string) (place, error) {
	id, rest, _ := strings.Cut(strings.Trim(text, "/"), "/")
	se, err := d.live(r, id)
	if errors.Is(err, job.ErrNoSession) {
		return place{}, noFile(text)
	}
	if err != nil {
		return place{}, err
	}
	if rest != "" && !job.ValidPath(rest) {
		return place{}, noFile(text)
	}
	return place{se, rest}, nil
}

func noFile(name string) error {
	return dialect.NewFault(http.StatusNotFound, string(job.FailNoFile), "No such file or directory: %s; the first name of a path is the id of a kernel", clipped(name))
}

func (d *Dialect) fs(ctx context.Context, p place, do job.FSRequest) (job.FSAnswer, error) {
	if do.Path == nil {
		do.Path = p.bytes()
	}
	return d.service.SessionFS(ctx, service.CallerOf(ctx), p.se.ID, do)
}

// stat returns the model of what is at a place, without its content.
func (d *Dialect) stat(ctx context.Context, p place) (contentModel, error) {
	if p.path == "" {
		return rootOf(p.se), nil
	}
	a, err := d.fs(ctx, p, job.FSRequest{Do: job.FSStat})
	if err != nil {
		return contentModel{}, err
	}
	return modelOf(p, a.Entry), nil
}

func modelOf(p place, e job.Entry) contentModel {
	m := contentModel{Name: path.Base(p.path), Path: p.full(), Type: typeFile, Writable: true, Created: stamp(e.Changed), LastModified: stamp(e.Modified)}
	switch {
	case e.Type == job.EntryDirectory || e.TargetType == job.EntryDirectory:
		m.Type = typeDirectory
		return m
	case strings.HasSuffix(m.Name, ".ipynb"):
		m.Type = typeNotebook
	}
	m.Size = &e.Size
	if kind := mime.TypeByExtension(path.Ext(m.Name)); kind != "" {
		kind, _, _ = strings.Cut(kind, ";")
		m.MIMEType = &kind
	}
	return m
}

func (d *Dialect) getContents(w http.ResponseWriter, r *http.Request) error {
	text, checkpoints := strings.CutSuffix(r.PathValue("path"), "/checkpoints")
	p, err := d.placeOf(r, text)
	if err != nil {
		return err
	}
	if checkpoints {
		dialect.WriteJSON(w, http.StatusOK, []any{})
		return nil
	}
	m, err := d.stat(r.Context(), p)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	asked := query.Get("type")
	switch {
	case asked == typeDirectory && m.Type != typeDirectory, asked != "" && asked != typeDirectory && m.Type == typeDirectory:
		return refuse("type: %s is a %s", clipped(text), m.Type)
	case asked == typeFile:
		m.Type = typeFile
	}
	held := d.service.HoldBody(service.CallerOf(r.Context())) // an answer counts for its caller until it is written
	defer held.Release()
	if query.Get("content") != "0" {
		if m.Type == typeDirectory {
			err = d.list(r.Context(), p, &m, held)
		} else {
			err = d.load(r.Context(), p, &m, query.Get("format"), held)
		}
		if err != nil {
			return err
		}
	}
	dialect.WriteJSON(w, http.StatusOK, m)
	return nil
}

// list adds the entries of a directory to its model.
func (d *Dialect) list(ctx context.Context, p place, m *contentModel, held *service.Held) error {
	entries := []contentModel{}
	do := job.FSRequest{Do: job.FSList, Depth: 1, Limit: 1000}
	for range 10 {
		a, err := d.fs(ctx, p, do)
		if err != nil {
			return err
		}
		for _, e := range a.Entries.Entries {
			if err := held.Hold(entryBytes + answerCopies*int64(len(e.Path))); err != nil {
				return err
			}
			if !e.Escaped {
				entries = append(entries, modelOf(p.below(path.Base(e.Path)), e))
			}
		}
		if !a.Entries.More || len(a.Entries.Entries) == 0 {
			break
		}
		do.After = []byte(a.Entries.Entries[len(a.Entries.Entries)-1].RawPath())
	}
	m.Content, m.Format = entries, new(formatJSON)
	return nil
}

// load adds the content of a file to its model.
func (d *Dialect) load(ctx context.Context, p place, m *contentModel, format string, held *service.Held) error {
	if m.Size != nil && *m.Size > mostContent {
		return dialect.NewFault(http.StatusRequestEntityTooLarge, "file_too_large", "the file has more than %d bytes; read it by Kaa's own API", mostContent)
	}
	// The file may have grown since.
	a, content, err := d.service.ReadSessionFS(ctx, service.CallerOf(ctx), p.se.ID, job.FSRequest{Do: job.FSRead, Path: p.bytes(), Length: mostContent})
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	if err := held.Hold(answerCopies * a.Length); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(content, mostContent))
	switch {
	case err != nil:
		return err
	case m.Type == typeNotebook:
		if !json.Valid(data) {
			return refuse("%s is no notebook: its content is no JSON", clipped(p.full()))
		}
		m.Content, m.Format = json.RawMessage(data), new(formatJSON)
	case format == formatText && !utf8.Valid(data):
		return refuse("%s is not UTF-8 encoded; ask for the format base64", clipped(p.full()))
	case format != formatBase64 && utf8.Valid(data):
		m.Content, m.Format = string(data), new(formatText)
	default:
		m.Content, m.Format = base64.StdEncoding.EncodeToString(data), new(formatBase64)
	}
	return nil
}
