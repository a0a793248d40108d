package cli

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// pack writes the files and directories below a directory as an archive. Other entries, such as links, are left out.
func pack(w io.Writer, dir string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err //nolint:wrapcheck // it has the path
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err //nolint:wrapcheck // it has the path
		}
		return packOne(archive, path, filepath.ToSlash(name), info)
	})
	if err := cmp.Or(err, archive.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", dir, err)
	}
	return nil
}

// packOne writes one entry. Owners stay out: they are of this machine.
func packOne(archive *tar.Writer, path, name string, info fs.FileInfo) error {
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}
	if info.IsDir() {
		head.Typeflag, head.Name, head.Size = tar.TypeDir, name+"/", 0
	}
	if err := archive.WriteHeader(head); err != nil || info.IsDir() {
		return err //nolint:wrapcheck // pack adds the path
	}
	f, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // it has the path
	}
	defer func() { _ = f.Close() }()
	_, err = io.CopyN(archive, f, info.Size())
	return err //nolint:wrapcheck // pack adds the path
}

// unpack writes the files and directories of an archive below a directory, which is made. Code has made the archive: names that lead out
// of the directory are refused, and links and devices are left out.
func unpack(r io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as any program's output
		return fmt.Errorf("copy: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() { _ = root.Close() }()
	for archive := tar.NewReader(r); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackOne(root, head, archive)
		}
		if err != nil {
			return fmt.Errorf("copy to %s: %w", dir, err)
		}
	}
}

func unpackOne(root *os.Root, head *tar.Header, content io.Reader) error {
	name := filepath.FromSlash(filepath.Clean(head.Name))
	mode := fs.FileMode(head.Mode) & fs.ModePerm //nolint:gosec // only these bits are used
	if name == "." {
		return nil
	}
	switch head.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, mode|0o700) //nolint:wrapcheck // unpack adds the directory
	case tar.TypeReg:
	default:
		return nil
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err //nolint:wrapcheck // unpack adds the directory
	}
	_ = root.Remove(name) // a link of that name is replaced, not followed
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o600)
	if err != nil {
		return err //nolint:wrapcheck // unpack adds the directory
	}
	_, err = io.Copy(f, content)
	return cmp.Or(err, f.Close())
}
