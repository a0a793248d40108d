package sandboxfs

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// maxCopied bounds the entries of one copy.
const maxCopied = 20_000

// Copy copies a file or a tree: contents and permissions, links as links, the attributes of files. It leaves out pipes, sockets and
// devices. A file is copied to its place in one step. replace allows that files are replaced, and that a
// tree is put over another.
func (f *FS) Copy(ctx context.Context, from, to string, replace, parents bool) (job.Entry, error) {
	from, to = f.clean(from), f.clean(to)
	var e job.Entry
	err := f.as(func() (err error) {
		e, err = f.stat(from)
		return err
	})
	if err != nil {
		return e, f.refused(from, err)
	}
	if e.Type == job.EntryDirectory {
		if err = f.copyTree(ctx, from, to, e, replace, parents); err == nil {
			return f.Stat(to)
		}
		return e, err
	}
	if err = f.copyOne(ctx, from, to, e, replace, parents); err == nil {
		return f.Stat(to)
	}
	return e, f.refused(f.blame(from, to, err), err)
}

// copyOne copies a file or a link.
func (f *FS) copyOne(ctx context.Context, from, to string, e job.Entry, replace, parents bool) error {
	switch e.Type {
	case job.EntryLink:
		target := job.File{Path: e.Target, Escaped: e.TargetEscaped}.Raw()
		return f.as(func() error { return f.link(to, target, replace, parents) })
	case job.EntryFile:
	default:
		return errIrregular
	}
	file, st, err := f.regular(from)
	if err != nil {
		return err
	}
	defer file.Close()
	var p place
	err = f.as(func() error {
		dir, base, err := f.parent(to, parents)
		p = place{dir, base, to}
		return err
	})
	if err != nil {
		return err
	}
	defer p.close()
	o := job.WriteOptions{Mode: st.Mode & 0o777, Keep: !replace}
	if err = f.as(func() error { o.Attributes, _ = ofFile(file).read(); return nil }); err != nil {
		return err
	}
	_, err = f.writeAt(ctx, p, o, io.LimitReader(file, st.Size))
	return err
}

// link makes a symbolic link.
func (f *FS) link(name, target string, replace, parents bool) error {
	dir, base, err := f.parent(name, parents)
	if err != nil {
		return err
	}
	defer dir.Close()
	return linkAt(dir, base, target, replace)
}

func linkAt(dir *os.File, base, target string, replace bool) error {
	err := unix.Symlinkat(target, int(dir.Fd()), base)
	if replace && errors.Is(err, unix.EEXIST) {
		if err = unix.Unlinkat(int(dir.Fd()), base, 0); err == nil {
			err = unix.Symlinkat(target, int(dir.Fd()), base)
		}
	}
	return err
}

// copyTree copies a directory. It lists the tree before it makes anything, so a copy into the tree itself
// ends.
func (f *FS) copyTree(ctx context.Context, from, to string, top job.Entry, replace, parents bool) error {
	var all []job.Entry
	w := &walker{f: f, ctx: ctx, depth: maxDepth, visit: func(dir *os.File, rel, base string, st *unix.Stat_t) error {
		if len(all) == maxCopied {
			return errEnough
		}
		e := f.describe(rel, st)
		if e.Type == job.EntryLink {
			f.describeLink(&e, join(from, rel), int(dir.Fd()), base)
		}
		all = append(all, e)
		return nil
	}}
	err := f.as(func() error { return w.walk(from) })
	if errors.Is(err, errEnough) || err == nil && w.incomplete {
		return &job.RefusedError{Code: job.FailTooLarge, Message: "the directory has more entries than are copied at once, or some that the code may not read; copy parts of it"}
	}
	if err == nil {
		err = f.as(func() error { return f.mkdir(to, 0o700, parents) })
		if replace && errors.Is(err, unix.EEXIST) {
			err = nil
		}
	}
	if err != nil {
		return f.refused(f.blame(from, to, err), err)
	}
	for _, e := range all {
		rel := e.RawPath()
		switch e.Type {
		case job.EntryDirectory:
			err = f.as(func() error { return f.mkdir(join(to, rel), 0o700, false) })
			if replace && errors.Is(err, unix.EEXIST) {
				err = nil
			}
		case job.EntryFile, job.EntryLink:
			err = f.copyOne(ctx, join(from, rel), join(to, rel), e, replace, false)
			if errors.Is(err, unix.ENOENT) {
				err = nil // the code has removed it meanwhile
			}
		}
		if err != nil {
			return f.refused(join(to, rel), err)
		}
	}
	return f.copyModes(to, all, top)
}

// copyModes gives copied directories their permissions, the deepest first: some do not allow to write to
// them.
func (f *FS) copyModes(to string, all []job.Entry, top job.Entry) error {
	set := func(name string, e job.Entry) error {
		mode, err := ParseMode(e.Mode)
		if err != nil {
			return err
		}
		return f.as(func() error {
			dir, _, err := f.at(name, false)
			if err != nil {
				return err
			}
			defer dir.Close()
			return chmod(dir, mode&0o777)
		})
	}
	for _, e := range slices.Backward(all) {
		if e.Type == job.EntryDirectory {
			if err := set(join(to, e.RawPath()), e); err != nil && !errors.Is(err, unix.ENOENT) {
				return f.refused(join(to, e.RawPath()), err)
			}
		}
	}
	return f.refused(to, set(to, top))
}
