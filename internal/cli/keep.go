package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/client"
)

// keep writes the figures and files of an execution into a directory. It reports the ones that are
// not kept.
func (r *run) keep(ctx context.Context, end client.End, dir string) error {
	if r.figures > 0 && end.Results == nil {
		// The record has the figures of the end: code may have replaced or removed earlier ones.
		j, err := r.client.GetJob(ctx, end.JobID, client.GetJobParams{})
		if err != nil {
			return fmt.Errorf("look for figures: %w", err)
		}
		if j.Result != nil {
			end.Results = j.Result.Results
		}
	}
	figures := figuresOf(end.Results)
	if end.FilesDropped != nil && end.FilesDropped.Count > 0 {
		r.say("%s kept: %s", wereNot(counted(int(end.FilesDropped.Count), "file"), int(end.FilesDropped.Count)), end.FilesDropped.Reason)
	}
	count := len(figures) + len(end.Files)
	if count == 0 {
		return nil
	}
	var what []string
	for _, c := range []string{counted(len(figures), "figure"), counted(len(end.Files), "file")} {
		if c != "" {
			what = append(what, c)
		}
	}
	all := strings.Join(what, " and ")
	if dir == "" {
		r.say("%s kept; --out DIR keeps %s", wereNot(all, count), map[bool]string{true: "it", false: "them"}[count == 1])
		return nil
	}
	if err := r.write(ctx, end, figures, dir); err != nil {
		return fmt.Errorf("--out %s: %w", dir, err)
	}
	r.say("%s in %s", all, dir)
	return nil
}

// write writes below dir only. It uses os.Root, because the program has chosen the names.
func (r *run) write(ctx context.Context, end client.End, figures []map[string][]byte, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as any program's output
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	taken := make(map[string]bool, len(end.Files))
	for _, f := range end.Files {
		taken[f.Path] = true
		if err := root.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
			return err
		}
		to, err := root.Create(f.Path)
		if err != nil {
			return err
		}
		res, err := r.client.GetFile(ctx, end.JobID, f.Path)
		if err == nil {
			_, err = io.Copy(to, res.Body)
			_ = res.Body.Close()
		}
		if err := cmp.Or(err, to.Close()); err != nil {
			return err
		}
	}
	number := 0
	for _, forms := range figures {
		for number++; slices.ContainsFunc(slices.Collect(maps.Keys(forms)), func(ext string) bool { return taken[figureName(number, ext)] }); {
			number++
		}
		for ext, content := range forms {
			if err := root.WriteFile(figureName(number, ext), content, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// counted returns a number with its noun; empty for 0.
func counted(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func wereNot(what string, n int) string {
	if n == 1 {
		return what + " was not"
	}
	return what + " were not"
}
