package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

// directory keeps each blob as a file whose path is the key. os.Root keeps every key inside the
// directory.
type directory struct{ root *os.Root }

// openDir opens a directory. It makes a missing one for this user alone. An existing one is the
// operator's; it is refused if any user could have made it.
func openDir(_ context.Context, place *url.URL) (Bucket, error) {
	if err := os.MkdirAll(place.Path, 0o700); err != nil { //nolint:gosec // the operator's path
		return nil, err
	}
	if err := checkPrivate(place.Path); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(place.Path)
	if err != nil {
		return nil, err
	}
	return &directory{root}, nil
}

// Put writes a file beside the blob's and renames it, because a file in another directory could
// be on another file system. The temporary name begins with the blob's key. So the remains of a
// process that dies here are deleted with the blob.
func (d *directory) Put(ctx context.Context, key string, content io.Reader) error {
	part, err := d.create(key)
	if err != nil {
		return err
	}
	_, err = io.Copy(part, content)
	if err = errors.Join(err, part.Close(), ctx.Err()); err == nil {
		err = d.root.Rename(part.name, key)
	}
	if err != nil {
		err = errors.Join(err, d.root.Remove(part.name))
	}
	return err
}

// partFile is a file with its path below the root.
type partFile struct {
	*os.File
	name string
}

func (d *directory) create(key string) (partFile, error) {
	name := fmt.Sprintf("%s.%016x.tmp", key, rand.Uint64()) //nolint:gosec // O_EXCL reports a taken name
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := d.root.OpenFile(name, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.root.MkdirAll(path.Dir(key), 0o700); err != nil {
			return partFile{}, err
		}
		f, err = d.root.OpenFile(name, flags, 0o600)
	}
	return partFile{f, name}, err
}

func (d *directory) Open(_ context.Context, key string) (io.ReadSeekCloser, error) {
	f, err := d.root.Open(key)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *directory) Delete(_ context.Context, key string) error {
	if err := d.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *directory) List(ctx context.Context, prefix string, found func(string, time.Time)) error {
	dir, _ := path.Split(prefix)
	return fs.WalkDir(d.root.FS(), path.Clean("./"+dir), func(key string, e fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || e.IsDir() || !strings.HasPrefix(key, prefix) {
			return ignoreMissing(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		found(key, info.ModTime())
		return nil
	})
}

// ignoreMissing drops errors of files that were deleted during the listing.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *directory) Close() error { return d.root.Close() }
