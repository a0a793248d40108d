package sandboxfs

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// The bounds of one tar stream that comes in.
const (
	maxUnpacked   = 50_000  // entries
	maxNameInTar  = 4 << 10 // bytes
	gzipMagic     = "\x1f\x8b"
	maxBrokenShow = 100 // characters of a name in a message
)

// Unpack puts the entries of a tar stream into a directory, which it makes with its parents if it is missing. The
// stream may be compressed with gzip. Files replace others in one step. Entries before one that is
// refused stay. It refuses absolute names, "..", devices, and names that lead through a link: also one that
// the stream itself has made. Contents of more than most bytes are a refusal.
func (f *FS) Unpack(ctx context.Context, name string, most int64, content io.Reader) (files int, bytes int64, err error) {
	name = f.clean(name)
	u := &unpacker{f: f, ctx: ctx, most: most}
	err = f.as(func() error {
		dir, err := f.directory(name, true)
		u.dir = dir
		return err
	})
	if err != nil {
		return 0, 0, f.refused(name, err)
	}
	defer u.dir.Close()
	u.name = name
	err = u.unpack(content)
	return u.entries, u.bytes, err
}

type unpacker struct {
	f       *FS
	ctx     context.Context
	dir     *os.File
	name    string
	most    int64
	entries int
	bytes   int64
}

func (u *unpacker) unpack(content io.Reader) error {
	source := &sourceReader{r: content}
	head := bufio.NewReaderSize(source, chunk)
	var plain io.Reader = head
	if magic, _ := head.Peek(len(gzipMagic)); string(magic) == gzipMagic {
		z, err := gzip.NewReader(head)
		if err != nil {
			return u.broken(source, err)
		}
		plain = z
	}
	in := tar.NewReader(plain)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return source.err
		}
		if err != nil {
			return u.broken(source, err)
		}
		if u.entries++; u.entries > maxUnpacked {
			return tooLarge(fmt.Sprintf("the archive has more than %d entries; send it in parts", maxUnpacked))
		}
		if err := u.one(h, &tarContent{r: in, u: u, source: source}); err != nil {
			return err
		}
	}
}

func tooLarge(message string) error {
	return &job.RefusedError{Code: job.FailTooLarge, Message: message}
}

// broken words an error of reading the archive, unless its source has failed.
func (u *unpacker) broken(source *sourceReader, err error) error {
	if source.err != nil {
		return source.err
	}
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return refused
	}
	return &job.RefusedError{Message: "the body is no tar archive, or a broken one: " + err.Error() + "; send one that tar can list (it may be compressed with gzip)"}
}

// sourceReader keeps the error of the stream itself.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// tarContent reads the content of one entry, and counts it.
type tarContent struct {
	r      io.Reader
	u      *unpacker
	source *sourceReader
}

func (c *tarContent) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.u.bytes += int64(n); c.u.bytes > c.u.most {
		return 0, tooLarge(fmt.Sprintf("the files of the archive have more than %d bytes together; send it in parts", c.u.most))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.u.broken(c.source, err)
	}
	return n, err
}

// one puts one entry into the directory.
func (u *unpacker) one(h *tar.Header, content io.Reader) error {
	shown, _ := job.EscapePath(h.Name[:min(len(h.Name), maxBrokenShow)])
	rel, ok := nameInTar(h.Name)
	if !ok {
		return &job.RefusedError{Message: fmt.Sprintf("the archive has an entry %q; names must be relative, without .. and of at most %d bytes", shown, maxNameInTar)}
	}
	if rel == "." {
		return nil
	}
	err := u.ctx.Err()
	mode := uint32(h.Mode) & 0o777 //nolint:gosec // of the permissions only
	switch {
	case err != nil:
	case h.Typeflag == tar.TypeDir:
		err = u.directory(rel, mode)
	case h.Typeflag == tar.TypeReg:
		err = u.file(rel, mode, content)
	case h.Typeflag == tar.TypeSymlink:
		err = u.in(rel, func(dir *os.File, base string) error { return linkAt(dir, base, h.Linkname, true) })
	case h.Typeflag == tar.TypeLink:
		err = u.hardLink(rel, h.Linkname)
	case h.Typeflag == tar.TypeXGlobalHeader:
	default:
		err = &job.RefusedError{Message: fmt.Sprintf("the archive has an entry %q of type %q; it may have files, directories and links", shown, h.Typeflag)}
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
		return &job.RefusedError{Message: fmt.Sprintf("the archive has an entry %q whose name leads through a link, or out of the directory; remove the link first", shown)}
	}
	return u.f.refused(join(u.name, rel), err)
}

// nameInTar returns the clean form of a name.
func nameInTar(name string) (string, bool) {
	if name == "" || len(name) > maxNameInTar || strings.HasPrefix(name, "/") || strings.IndexByte(name, 0) >= 0 {
		return "", false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", false
		}
	}
	return path.Clean(name), true
}

// in calls do with the directory of an entry, which it makes if it is missing, for the code's user.
func (u *unpacker) in(rel string, do func(dir *os.File, base string) error) error {
	return u.f.as(func() error {
		dir, err := u.parent(rel)
		if err != nil {
			return err
		}
		defer dir.Close()
		return do(dir, path.Base(rel))
	})
}

// beneath are the rules for names in an archive.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

func (u *unpacker) parent(rel string) (*os.File, error) {
	above := path.Dir(rel)
	dir, err := openIn(u.dir, above, unix.O_PATH|unix.O_DIRECTORY, beneath)
	if !errors.Is(err, unix.ENOENT) {
		return dir, err
	}
	upper, err := u.parent(above)
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	if err := mkdirAt(upper, path.Base(above), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return openIn(u.dir, above, unix.O_PATH|unix.O_DIRECTORY, beneath)
}

func (u *unpacker) directory(rel string, mode uint32) error {
	return u.in(rel, func(dir *os.File, base string) error {
		err := mkdirAt(dir, base, mode|0o700) // entries follow that are put into it
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		old, err := openIn(dir, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, beneath)
		if err != nil {
			return err
		}
		return old.Close()
	})
}

func (u *unpacker) file(rel string, mode uint32, content io.Reader) error {
	p := place{base: path.Base(rel), path: join(u.name, rel)}
	err := u.f.as(func() (err error) {
		p.dir, err = u.parent(rel)
		return err
	})
	if err != nil {
		return err
	}
	defer p.close()
	_, err = u.f.writeAt(u.ctx, p, job.WriteOptions{Mode: max(mode, 0o400)}, content)
	return err
}

// hardLink gives a file of the archive, which came before, another name.
func (u *unpacker) hardLink(rel, to string) error {
	old, ok := nameInTar(to)
	if !ok {
		return unix.ELOOP
	}
	return u.in(rel, func(dir *os.File, base string) error {
		source, err := openIn(u.dir, path.Dir(old), unix.O_PATH|unix.O_DIRECTORY, beneath)
		if err != nil {
			return err
		}
		defer source.Close()
		err = unix.Linkat(int(source.Fd()), path.Base(old), int(dir.Fd()), base, 0)
		if errors.Is(err, unix.EEXIST) {
			if err = unix.Unlinkat(int(dir.Fd()), base, 0); err == nil {
				err = unix.Linkat(int(source.Fd()), path.Base(old), int(dir.Fd()), base, 0)
			}
		}
		return err
	})
}
