package daytona

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// mostText is how large a file may be in which text is replaced.
const mostText = 16 << 20

// searchFiles finds entries by a pattern of their names.
func (d *Dialect) searchFiles(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	dir, err := pathOf(r, "path")
	if err != nil {
		return err
	}
	pattern := r.URL.Query().Get("pattern")
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		return badRequest("pattern: send a pattern of names, such as *.py")
	}
	rename, err := d.asGiven(r, string(dir))
	if err != nil {
		return err
	}
	files := []string{}
	err = d.entries(r.Context(), se.ID, dir, 200, func(e job.Entry) {
		if ok, _ := path.Match(pattern, path.Base(e.Path)); ok {
			files = append(files, rename(e.Path))
		}
	})
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string][]string{"files": files})
}

// asGiven returns how an absolute path below a directory is written with the directory as the caller gave it.
func (d *Dialect) asGiven(r *http.Request, dir string) (func(string) string, error) {
	a, err := d.fs(r, job.FSRequest{Do: job.FSStat, Path: []byte(dir)})
	if err != nil {
		return nil, err
	}
	return func(name string) string {
		if rest, ok := strings.CutPrefix(name, a.Entry.Path); ok {
			return strings.TrimSuffix(dir, "/") + rest
		}
		return name
	}, nil
}

// match is a line that has a text.
type match struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Content string `json:"content"`
}

// findInFiles finds lines with a text, by grep in the sandbox.
func (d *Dialect) findInFiles(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	dir, err := pathOf(r, "path")
	if err != nil {
		return err
	}
	pattern := r.URL.Query().Get("pattern")
	if pattern == "" || strings.ContainsAny(pattern, "\n\x00") {
		return badRequest("pattern: send the text to find, of one line")
	}
	if _, err := d.fs(r, job.FSRequest{Do: job.FSStat, Path: dir}); err != nil {
		return err
	}
	ran, err := d.program(r.Context(), se, programRequest{argv: []string{"grep", "-rnIFZ", "-e", pattern, "--", string(dir)}})
	if err != nil {
		return err
	}
	if ran.code > 1 && ran.stdout == "" {
		return badRequest("%s", firstText(strings.TrimSpace(ran.stderr), "grep failed"))
	}
	return answerJSON(w, http.StatusOK, matchesOf(ran.stdout))
}

// matchesOf reads what grep has found: the file, a zero byte, the number of the line, a colon, the line.
func matchesOf(text string) []match {
	found := []match{}
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(line, "\x00")
		number, content, also := strings.Cut(rest, ":")
		n, err := strconv.Atoi(number)
		if ok && also && err == nil {
			found = append(found, match{file, n, strings.TrimSuffix(content, "\n")})
		}
	}
	return found
}

// replaced says what became of one file.
type replaced struct {
	File    string `json:"file"`
	Success bool   `json:"success"`
	Error   string `json:"error,omitempty"`
}

// replaceInFiles replaces a text in files.
func (d *Dialect) replaceInFiles(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Files    []string `json:"files"`
		Pattern  string   `json:"pattern"`
		NewValue *string  `json:"newValue"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Pattern == "" || body.NewValue == nil || len(body.Files) > mostFiles {
		return badRequest("send files (at most %d), pattern and newValue", mostFiles)
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	results := []replaced{}
	for _, name := range body.Files {
		result := replaced{File: name, Success: true}
		if err := d.replaceIn(r, se.ID, name, body.Pattern, *body.NewValue); err != nil {
			if r.Context().Err() != nil {
				return err
			}
			said, _ := d.errorOf(r, err)
			result = replaced{File: name, Error: said.Message}
		}
		results = append(results, result)
	}
	return answerJSON(w, http.StatusOK, results)
}

func (d *Dialect) replaceIn(r *http.Request, session, name, old, fresh string) error {
	a, content, err := d.read(r.Context(), session, name)
	if err != nil {
		return err
	}
	defer content.Close()
	if a.Length > mostText {
		return badRequest("the file has more than %d bytes", mostText)
	}
	// Both texts are in memory, and count as bodies of the caller.
	held := d.service.HoldBody(service.CallerOf(r.Context()))
	defer held.Release()
	text, err := io.ReadAll(held.Reader(io.LimitReader(content, mostText)))
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	n := bytes.Count(text, []byte(old))
	after := len(text) + n*(len(fresh)-len(old))
	if n == 0 {
		return nil
	}
	if after > mostText {
		return badRequest("the file would have more than %d bytes", mostText)
	}
	if err := held.Hold(int64(after)); err != nil {
		return err
	}
	return d.write(r.Context(), session, name, bytes.NewReader(bytes.ReplaceAll(text, []byte(old), []byte(fresh))))
}
