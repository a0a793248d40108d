package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// place is one end of a copy: a path of this machine, or one of a session.
type place struct {
	session, path string
}

// placeOf reads SESSION:PATH, or a path. A path of this machine with a colon begins with a dot or a slash.
func placeOf(word string) place {
	session, rest, found := strings.Cut(word, ":")
	if !found || session == "" || strings.ContainsAny(session[:1], "./") || strings.Contains(session, "/") {
		return place{path: word}
	}
	return place{session, cmp.Or(rest, ".")}
}

// Copy copies a file or a directory from this machine to a session, or back. "-" is standard input or output.
func Copy(ctx context.Context, p app.Process, from, to string, stdin *os.File) error {
	source, target := placeOf(from), placeOf(to)
	if (source.session == "") == (target.session == "") {
		return errors.New("one of both is in a session, as in `kaa cp data.csv SESSION:data.csv` and `kaa cp SESSION:out.png .`")
	}
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	session := &source.session
	if target.session != "" {
		session = &target.session
	}
	if *session, err = sessionID(ctx, c, *session); err != nil {
		return err
	}
	if target.session != "" {
		return upload(ctx, c, source.path, target, stdin)
	}
	return download(ctx, c, p, source, target.path)
}

// upload copies to a session.
func upload(ctx context.Context, c *client.Client, from string, to place, stdin *os.File) error {
	if from == "-" {
		_, err := c.WriteSessionContent(ctx, to.session, client.WriteSessionContentParams{Path: to.path}, stdin)
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if info.IsDir() {
		return uploadTree(ctx, c, from, to)
	}
	there, err := c.StatSessionEntry(ctx, to.session, client.StatSessionEntryParams{Path: to.path})
	switch {
	case err == nil && there.Type == "directory", strings.HasSuffix(to.path, "/"):
		to.path = path.Join(to.path, filepath.Base(from))
	case err != nil && !client.IsProblem(err, "file_not_found"):
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = f.Close() }()
	mode := fmt.Sprintf("%04o", info.Mode().Perm())
	_, err = c.WriteSessionContent(ctx, to.session, client.WriteSessionContentParams{Path: to.path, Mode: mode}, f)
	return err
}

// uploadTree copies what is in a directory into one of a session.
func uploadTree(ctx context.Context, c *client.Client, from string, to place) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(pack(w, from)) }()
	_, err := c.UnpackSessionDirectory(ctx, to.session, client.UnpackSessionDirectoryParams{Path: to.path}, r)
	_ = r.Close()
	return err
}

// download copies from a session.
func download(ctx context.Context, c *client.Client, p app.Process, from place, to string) error {
	entry, err := c.StatSessionEntry(ctx, from.session, client.StatSessionEntryParams{Path: from.path})
	if err != nil {
		return err
	}
	if entry.Type == "directory" {
		if to == "-" {
			return errors.New("a directory cannot go to standard output: name a directory")
		}
		res, err := c.PackSessionDirectory(ctx, from.session, client.PackSessionDirectoryParams{Path: from.path})
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		return unpack(res.Body, to)
	}
	res, err := c.ReadSessionContent(ctx, from.session, client.ReadSessionContentParams{Path: from.path})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if to == "-" {
		_, err := io.Copy(p.Stdout, res.Body)
		return err //nolint:wrapcheck // of the connection, or of the output
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, path.Base(path.Clean("/"+from.path)))
	}
	return saveAs(to, res.Body)
}

// saveAs writes a file in one step, so that a connection that breaks leaves the old one.
func saveAs(name string, body io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".kaa-cp-*")
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	_, err = io.Copy(f, body)
	err = cmp.Or(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}
