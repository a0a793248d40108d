package sandboxfs

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// MakeDir makes a directory, with its parents if asked. An existing directory is a refusal.
func (f *FS) MakeDir(name string, mode uint32, parents bool) (job.Entry, error) {
	name = f.clean(name)
	var e job.Entry
	err := f.as(func() (err error) {
		if err = f.mkdir(name, mode, parents); err == nil {
			e, err = f.stat(name)
		}
		return err
	})
	return e, f.refused(name, err)
}

// Chmod changes the permissions of a file or directory. It follows links.
func (f *FS) Chmod(name string, mode uint32) (job.Entry, error) {
	name = f.clean(name)
	var e job.Entry
	err := f.as(func() error {
		file, _, err := f.at(name, true)
		if err != nil {
			return err
		}
		defer file.Close()
		if err = chmod(file, mode); err == nil {
			e, err = f.stat(name)
		}
		return err
	})
	return e, f.refused(name, err)
}

// Move gives an entry another path, in one step within one file system. replace allows that an
// entry at the new path is replaced as rename(2) does: a directory only by a directory, and only if it is
// empty. Missing directories of the new path are made if parents is set.
func (f *FS) Move(ctx context.Context, from, to string, replace, parents bool) (job.Entry, error) {
	from, to = f.clean(from), f.clean(to)
	var e job.Entry
	err := f.as(func() (err error) {
		if err = f.move(from, to, replace, parents); err == nil {
			e, err = f.stat(to)
		}
		return err
	})
	if !errors.Is(err, unix.EXDEV) {
		return e, f.refused(f.blame(from, to, err), err)
	}
	// Between /work and /tmp.
	if e, err = f.Copy(ctx, from, to, replace, parents); err == nil {
		err = f.Remove(ctx, from, true)
	}
	return e, err
}

// blame returns that of two paths that an error is about: the first one if it is not there.
func (f *FS) blame(from, to string, err error) string {
	if err == nil || f.as(func() error { _, err := f.stat(from); return err }) != nil {
		return from
	}
	return to
}

func (f *FS) move(from, to string, replace, parents bool) error {
	source, base, err := f.parent(from, false)
	if err != nil {
		return err
	}
	defer source.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(source.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	target, name, err := f.parent(to, parents)
	if err != nil {
		return err
	}
	defer target.Close()
	flags := uint(0)
	if !replace {
		flags = unix.RENAME_NOREPLACE
	}
	return unix.Renameat2(int(source.Fd()), base, int(target.Fd()), name, flags)
}

// Remove deletes a file, a link as such, or an empty directory; with recursive also what is in a
// directory.
func (f *FS) Remove(ctx context.Context, name string, recursive bool) error {
	name = f.clean(name)
	err := f.as(func() error {
		dir, base, err := f.parent(name, false)
		if err != nil {
			return err
		}
		defer dir.Close()
		r := remover{f: f, ctx: ctx, top: dir}
		err = r.drop(dir, base, recursive, 1)
		for err == nil && len(r.moved) > 0 {
			next := r.moved[len(r.moved)-1]
			r.moved = r.moved[:len(r.moved)-1]
			err = r.drop(dir, next, true, 1)
		}
		return err
	})
	return f.refused(name, err)
}

// remover deletes trees, while code may change them.
type remover struct {
	f     *FS
	ctx   context.Context
	top   *os.File // where the tree is
	moved []string // directories that were too deep and are in top by now
	done  int
}

// maxRemoved bounds the entries of one removal: code can make others all the time.
const maxRemoved = 1_000_000

// drop deletes an entry of a directory.
func (r *remover) drop(dir *os.File, base string, recursive bool, level int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.done++; r.done > maxRemoved {
		return unix.EAGAIN
	}
	fd := int(dir.Fd())
	err := unix.Unlinkat(fd, base, 0)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	err = unix.Unlinkat(fd, base, unix.AT_REMOVEDIR)
	if !recursive || !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if level >= maxDepth {
		other := tempPrefix + rand.Text()
		if err := unix.Renameat(fd, base, int(r.top.Fd()), other); err != nil {
			return err
		}
		r.moved = append(r.moved, other)
		return nil
	}
	child, err := r.f.child(dir, base)
	if err != nil {
		return err
	}
	err = r.empty(child, level)
	_ = child.Close()
	if err != nil {
		return err
	}
	return unix.Unlinkat(fd, base, unix.AT_REMOVEDIR)
}

// empty deletes what is in a directory.
func (r *remover) empty(dir *os.File, level int) error {
	const batch = 1000
	for {
		names, err := dir.Readdirnames(batch)
		for _, name := range names {
			if err := r.drop(dir, name, true, level+1); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		if errors.Is(err, io.EOF) || len(names) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
