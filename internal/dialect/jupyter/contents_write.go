package jupyter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type contentBody struct {
	Type     string          `json:"type"`
	Format   string          `json:"format"`
	Content  json.RawMessage `json:"content"`
	Ext      string          `json:"ext"`
	CopyFrom string          `json:"copy_from"`
	Path     string          `json:"path"`
}

func (d *Dialect) putContents(w http.ResponseWriter, r *http.Request) error {
	var body contentBody
	if err := dialect.ReadRawJSON(r, 1, &body); err != nil {
		return err
	}
	p, err := d.placeOf(r, r.PathValue("path"))
	if err != nil {
		return err
	}
	if p.path == "" {
		return refuse("path: send the path of a file below the directory of the kernel")
	}
	if err := d.save(r.Context(), p, body, true); err != nil {
		return err
	}
	return d.answerModel(w, r, p, http.StatusCreated)
}

func (d *Dialect) answerModel(w http.ResponseWriter, r *http.Request, p place, status int) error {
	m, err := d.stat(r.Context(), p)
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, status, m)
	return nil
}

// save writes a file or makes a directory.
func (d *Dialect) save(ctx context.Context, p place, body contentBody, replace bool) error {
	if body.Type == typeDirectory {
		_, err := d.fs(ctx, p, job.FSRequest{Do: job.FSMakeDir, Parents: replace})
		return err
	}
	content := string(body.Content)
	if body.Type != typeNotebook && body.Format != formatJSON {
		if len(body.Content) > 0 && json.Unmarshal(body.Content, &content) != nil {
			return refuse("content: send a string")
		}
		if body.Format == formatBase64 {
			data, err := base64.StdEncoding.DecodeString(strings.Map(withoutSpace, content))
			if err != nil {
				return refuse("content: is not base64")
			}
			content = string(data)
		}
	}
	_, err := d.service.WriteSessionFS(ctx, service.CallerOf(ctx), p.se.ID, job.FSRequest{Do: job.FSWrite, Path: p.bytes(), Replace: replace, Parents: true}, strings.NewReader(content))
	return err
}

func withoutSpace(c rune) rune {
	if c == '\n' || c == '\r' || c == ' ' {
		return -1
	}
	return c
}

// emptyNotebook is a new notebook.
const emptyNotebook = `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`

// makeContents makes a file without a name in a directory, or a copy of a file.
func (d *Dialect) makeContents(w http.ResponseWriter, r *http.Request) error {
	if text, ok := strings.CutSuffix(r.PathValue("path"), "/checkpoints"); ok {
		p, err := d.placeOf(r, text)
		if err != nil {
			return err
		}
		m, err := d.stat(r.Context(), p)
		if err != nil {
			return err
		}
		// Clients ask for one after each save. Kaa keeps none: its own API has checkpoints of whole sessions.
		dialect.WriteJSON(w, http.StatusCreated, map[string]string{"id": "checkpoint", "last_modified": m.LastModified})
		return nil
	}
	var body contentBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	p, err := d.placeOf(r, r.PathValue("path"))
	if err != nil {
		return err
	}
	begin, ext := "untitled", body.Ext
	switch {
	case body.CopyFrom != "":
		ext = path.Ext(body.CopyFrom)
		begin = strings.TrimSuffix(path.Base(body.CopyFrom), ext) + "-Copy"
	case body.Type == typeDirectory:
		begin, ext = "Untitled Folder", ""
	case body.Type == typeNotebook:
		begin, ext, body.Content = "Untitled", ".ipynb", json.RawMessage(emptyNotebook)
	default:
		body.Content, body.Format = nil, formatText
	}
	for n := range 100 {
		name := begin + ext
		if n > 0 {
			name = begin + strconv.Itoa(n) + ext
		}
		to := p.below(name)
		if err = d.makeAt(r, to, body); dialect.FailureOf(err) != job.FailFileExists {
			if err != nil {
				return err
			}
			return d.answerModel(w, r, to, http.StatusCreated)
		}
	}
	return err
}

func (d *Dialect) makeAt(r *http.Request, to place, body contentBody) error {
	if body.CopyFrom == "" {
		return d.save(r.Context(), to, body, false)
	}
	from, err := d.placeOf(r, body.CopyFrom)
	if err != nil {
		return err
	}
	if from.se.ID != to.se.ID {
		return refuse("copy_from: the file is one of another kernel")
	}
	_, err = d.fs(r.Context(), from, job.FSRequest{Do: job.FSCopy, To: to.bytes()})
	return err
}

func (d *Dialect) moveContents(w http.ResponseWriter, r *http.Request) error {
	var body contentBody
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	from, err := d.placeOf(r, r.PathValue("path"))
	if err != nil {
		return err
	}
	to, err := d.placeOf(r, body.Path)
	switch {
	case err != nil:
		return err
	case from.se.ID != to.se.ID, from.path == "", to.path == "":
		return refuse("path: a file stays below the directory of its kernel")
	}
	if _, err := d.fs(r.Context(), from, job.FSRequest{Do: job.FSMove, To: to.bytes()}); err != nil {
		return err
	}
	return d.answerModel(w, r, to, http.StatusOK)
}

func (d *Dialect) deleteContents(w http.ResponseWriter, r *http.Request) error {
	p, err := d.placeOf(r, r.PathValue("path"))
	if err != nil {
		return err
	}
	if p.path == "" {
		return refuse("path: the directory of a kernel ends with the kernel")
	}
	if _, err := d.fs(r.Context(), p, job.FSRequest{Do: job.FSRemove, Recursive: true}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
