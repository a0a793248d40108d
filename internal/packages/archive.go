package packages

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

// pack writes the files of a directory as a compressed tar.
func pack(to io.Writer, dir string) error {
	z, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	return errors.Join(writeTar(z, dir), z.Close())
}

// writeTar writes the files of a directory as a tar.
func writeTar(to io.Writer, dir string) error {
	t := tar.NewWriter(to)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		// Bytecode has the time of its source, in whole seconds.
		header := &tar.Header{Name: path, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second), Typeflag: tar.TypeDir}
		if !e.IsDir() {
			header.Typeflag, header.Size = tar.TypeReg, info.Size()
		}
		if err := t.WriteHeader(header); err != nil || e.IsDir() {
			return err
		}
		file, err := root.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(t, file)
		return errors.Join(err, file.Close())
	})
	return errors.Join(err, t.Close())
}

// unpack writes the files of such a tar into a directory, and returns their bytes.
func (m *Manager) unpack(from io.Reader, dir string) (size int64, err error) {
	z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return 0, err
	}
	defer z.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	t, files := tar.NewReader(z), 0
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
		if files++; files > mostFiles || header.Size > m.cfg.MaxBytes-size {
			return 0, m.tooLarge()
		}
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.Mkdir(header.Name, 0o755)
		case tar.TypeReg:
			size += header.Size
			err = writeFile(root, header, t)
		default:
			err = fmt.Errorf("%s: %w", header.Name, errForeign)
		}
		if err != nil {
			return 0, err
		}
	}
}

func writeFile(root *os.Root, header *tar.Header, content io.Reader) error {
	file, err := root.OpenFile(header.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644|fs.FileMode(header.Mode)&0o111) //nolint:gosec // a mode
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close(), root.Chtimes(header.Name, header.ModTime, header.ModTime))
}
