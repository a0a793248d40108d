package sandboxfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// Pack writes a directory as a tar stream: files, directories and links, with their permissions and
// times. Names are those below the directory. It leaves out pipes, sockets, devices and files that the
// user of the code may not read. Contents of more than most bytes are a refusal.
func (f *FS) Pack(ctx context.Context, name string, most int64, to io.Writer) error {
	name = f.clean(name)
	p := &packer{f: f, ctx: ctx, most: most, to: tar.NewWriter(to)}
	err := p.directory(name)
	if err == nil {
		err = p.to.Close()
	}
	return f.refused(name, err)
}

// packer writes one tar stream.
type packer struct {
	f    *FS
	ctx  context.Context
	most int64 // bytes
	to   *tar.Writer
	seen int
}

// directory packs a tree. The walk collects the names of one directory at a time, so that this thread has
// the code's user only for system calls.
func (p *packer) directory(top string) error {
	var dir *os.File
	err := p.f.as(func() error {
		found, st, err := p.f.at(top, true)
		if err != nil {
			return err
		}
		defer found.Close()
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		dir, err = reopen(found, unix.O_RDONLY|unix.O_DIRECTORY)
		return err
	})
	if err != nil {
		return err
	}
	return p.enter(dir, "", 1)
}

// item is an entry of a directory.
type item struct {
	base, target string
	st           unix.Stat_t
}

func (p *packer) enter(dir *os.File, rel string, level int) error {
	defer dir.Close()
	var items []item
	err := p.f.as(func() error {
		w := &walker{f: p.f, ctx: p.ctx, depth: 1, seen: p.seen, visit: func(dir *os.File, _, base string, st *unix.Stat_t) error {
			i := item{base: base, st: *st}
			if st.Mode&unix.S_IFMT == unix.S_IFLNK {
				buffer := make([]byte, unix.PathMax)
				if n, err := unix.Readlinkat(int(dir.Fd()), base, buffer); err == nil {
					i.target = string(buffer[:n])
				}
			}
			items = append(items, i)
			return nil
		}}
		err := w.read(dir, "", 1)
		p.seen = w.seen
		if w.incomplete && err == nil {
			err = errTooMany
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, i := range items {
		if err := p.one(dir, rel+i.base, i, level); err != nil {
			return err
		}
	}
	return nil
}

var errTooMany error = &job.RefusedError{Code: job.FailTooLarge, Message: fmt.Sprintf("the directory has more than %d entries, or is deeper than %d levels; take parts of it", maxSeen, maxDepth)}

func (p *packer) one(dir *os.File, rel string, i item, level int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	h := &tar.Header{Name: rel, Mode: int64(i.st.Mode & 0o777), ModTime: time.Unix(i.st.Mtim.Unix()).Truncate(time.Second), Uname: "user", Gname: "user", Format: tar.FormatGNU}
	switch i.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return p.file(dir, i.base, h)
	case unix.S_IFLNK:
		if i.target == "" {
			return nil
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, i.target
		return p.to.WriteHeader(h)
	case unix.S_IFDIR:
		var child *os.File
		if err := p.f.as(func() (err error) { child, err = p.f.child(dir, i.base); return err }); err != nil {
			return nil //nolint:nilerr // it is gone, is no part of the sandbox's own files, or may not be read
		}
		h.Typeflag, h.Name = tar.TypeDir, rel+"/"
		err := p.to.WriteHeader(h)
		if err == nil && level >= maxDepth {
			err = errTooMany
		}
		if err != nil {
			_ = child.Close()
			return err
		}
		return p.enter(child, rel+"/", level+1)
	}
	return nil
}

// file packs an ordinary file. If the code shortens it meanwhile, zeros take the place of the missing part,
// because the header has its size.
func (p *packer) file(dir *os.File, base string, h *tar.Header) error {
	var file *os.File
	var st unix.Stat_t
	err := p.f.as(func() error {
		found, err := openIn(dir, base, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV)
		if err != nil {
			return err
		}
		defer found.Close()
		if err = unix.Fstat(int(found.Fd()), &st); err == nil && (!p.f.inside(&st) || st.Mode&unix.S_IFMT != unix.S_IFREG) {
			err = errIrregular
		}
		if err == nil {
			file, err = reopen(found, unix.O_RDONLY|unix.O_NONBLOCK)
		}
		return err
	})
	if err != nil {
		return nil //nolint:nilerr // it is gone, another kind of entry by now, or may not be read
	}
	defer file.Close()
	if p.most -= st.Size; p.most < 0 {
		return &job.RefusedError{Code: job.FailTooLarge, Message: "the files of the directory have more bytes together than are passed on at once (KAA_MAX_RESULT_FILE_BYTES); take parts of it"}
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := p.to.WriteHeader(h); err != nil {
		return err
	}
	buffer := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer buffers.Put(buffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{p.to}, io.LimitReader(file, st.Size), *buffer)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{p.to}, io.LimitReader(zeros{}, st.Size-n), *buffer)
	return errors.Join(err, p.ctx.Err())
}

// zeros is an endless sequence of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
