package sandboxfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Config describes a sandbox.
type Config struct {
	// Root is the sandbox's root directory. New takes it over.
	Root *os.File
	// Work is the absolute path of the working directory. Relative paths begin there.
	Work string
	// Places are the absolute paths of the directories that the code may change. They exist.
	Places []string
	// Alias is the path of Root as the code sees it; empty if that is "/". Paths may begin with it.
	Alias string
	// Grow reserves room for n more bytes of files. It fails if there is none. Settle ends reservations of n
	// bytes, whether the files have them or not. Both may be nil.
	Grow   func(n int64) error
	Settle func(n int64)
	// Dir is the opened working directory, to which Work must lead. It may be nil.
	Dir *os.File
	// Wrote is called for each file that was written and that the code has not changed since. It may be
	// nil.
	Wrote func(path string, st *unix.Stat_t)
}

// FS is the file system of a live sandbox. Its methods are safe for concurrent use, except Close.
type FS struct {
	cfg    Config
	root   unix.Stat_t
	places []uint64 // devices
	// uid and gid own the working directory. If foreign is set, this process is another user and
	// acts as they do.
	uid, gid int
	foreign  bool

	watching sync.Mutex
	watches  int
}

// New opens the file system of a sandbox.
func New(cfg Config) (*FS, error) {
	f := &FS{cfg: cfg}
	err := unix.Fstat(int(cfg.Root.Fd()), &f.root)
	for _, place := range append([]string{cfg.Work}, cfg.Places...) {
		if err != nil {
			break
		}
		var st unix.Stat_t
		if st, err = f.lookAt(place); err == nil {
			f.places = append(f.places, st.Dev)
		}
		if place == cfg.Work && err == nil {
			err = f.check(&st)
			f.uid, f.gid, f.foreign = int(st.Uid), int(st.Gid), int(st.Uid) != os.Geteuid()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the files of a sandbox: %w", err), cfg.Root.Close())
	}
	return f, nil
}

// check fails unless the working directory is the one that was opened.
func (f *FS) check(st *unix.Stat_t) error {
	if f.cfg.Dir == nil {
		return nil
	}
	var want unix.Stat_t
	err := unix.Fstat(int(f.cfg.Dir.Fd()), &want)
	if err == nil && (st.Dev != want.Dev || st.Ino != want.Ino) {
		err = fmt.Errorf("%s is not the working directory", f.cfg.Work)
	}
	return err
}

func (f *FS) lookAt(name string) (st unix.Stat_t, err error) {
	file, err := f.open(name, unix.O_PATH)
	if err != nil {
		return st, err
	}
	defer file.Close()
	err = unix.Fstat(int(file.Fd()), &st)
	return st, err
}

// Close releases the root. No call may be under way.
func (f *FS) Close() { _ = f.cfg.Root.Close() }

// clean returns the absolute path that a caller means.
func (f *FS) clean(name string) string {
	if !strings.HasPrefix(name, "/") {
		name = f.cfg.Work + "/" + name
	}
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, f.cfg.Alias); ok && f.cfg.Alias != "" && strings.HasPrefix(rest, "/") {
		return rest
	}
	return name
}

// as calls do with the sandbox's user in the place of this process's own, for the checks of the file
// system. That holds for the goroutine of do only. do must not call functions of the configuration.
func (f *FS) as(do func() error) error {
	if !f.foreign {
		return do()
	}
	runtime.LockOSThread()
	uid, _ := unix.SetfsuidRetUid(-1) // fails, and returns the present one
	gid, _ := unix.SetfsgidRetGid(-1)
	err := become(f.uid, f.gid)
	if err == nil {
		err = do()
	}
	if back := become(uid, gid); back != nil {
		// The thread stays locked, so it ends with this goroutine and no other one gets it.
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// become sets the ids with which the kernel checks this thread's access to files. A user other than
// root has no capabilities for files then.
func become(uid, gid int) error {
	_ = unix.Setfsgid(gid)
	_ = unix.Setfsuid(uid)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID != uid || nowGID != gid {
		return fmt.Errorf("become user %d, group %d for files: the kernel refuses", uid, gid)
	}
	return nil
}

// open opens an absolute path within the root. The opened file may be outside of the places.
func (f *FS) open(name string, flags int) (*os.File, error) {
	return openIn(f.cfg.Root, strings.TrimLeft(name, "/"), flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

func openIn(dir *os.File, name string, flags int, resolve uint64) (*os.File, error) {
	if name == "" {
		name = "."
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve} //nolint:gosec // flags are not negative
	const tries = 100                                                            // the kernel gives up when something is moved meanwhile
	for range tries {
		fd, err := unix.Openat2(int(dir.Fd()), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN):
			return nil, err
		}
	}
	return nil, unix.EAGAIN
}

// inside reports whether an opened file is one that the code may change, by its place. The root itself
// is none.
func (f *FS) inside(st *unix.Stat_t) bool {
	if st.Dev == f.root.Dev && st.Ino == f.root.Ino {
		return false
	}
	return slices.Contains(f.places, st.Dev)
}

// at opens a path by name only, and judges it. It follows a link at the end if follow is set. The caller
// closes the file.
func (f *FS) at(name string, follow bool) (*os.File, unix.Stat_t, error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	var st unix.Stat_t
	file, err := f.open(name, flags)
	if err != nil {
		return nil, st, err
	}
	if err = unix.Fstat(int(file.Fd()), &st); err == nil && !f.inside(&st) {
		err = errOutside
	}
	if err != nil {
		_ = file.Close()
		return nil, st, err
	}
	return file, st, nil
}

// split cuts off the last name of an absolute path. It does not clean the rest, because ".." after a link
// is the kernel's to resolve.
func split(name string) (above, base string) {
	at := strings.LastIndexByte(name, '/')
	return name[:at], name[at+1:]
}

// parent opens the directory that an absolute path is in, and returns the path's last name. With mk it makes
// missing directories.
func (f *FS) parent(name string, mk bool) (*os.File, string, error) {
	above, base := split(name)
	switch base {
	case "":
		return nil, "", errOutside
	case ".", "..":
		return nil, "", unix.EISDIR
	}
	dir, err := f.directory(above, mk)
	if err != nil {
		return nil, "", err
	}
	return dir, base, nil
}

// directory opens a directory by name only. A missing one is made, with those above it, if mk is set. The
// caller closes it.
func (f *FS) directory(name string, mk bool) (*os.File, error) {
	dir, st, err := f.at(name, true)
	if mk && errors.Is(err, unix.ENOENT) {
		if err = f.mkdir(name, 0o755, true); err == nil || errors.Is(err, unix.EEXIST) {
			dir, st, err = f.at(name, true)
		}
	}
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		_ = dir.Close()
		return nil, unix.ENOTDIR
	}
	return dir, nil
}

// mkdir makes a directory with these permissions, whatever the umask of this process is.
func (f *FS) mkdir(name string, mode uint32, parents bool) error {
	dir, base, err := f.parent(name, parents)
	if err != nil {
		return err
	}
	defer dir.Close()
	return mkdirAt(dir, base, mode)
}

func mkdirAt(dir *os.File, base string, mode uint32) error {
	if err := unix.Mkdirat(int(dir.Fd()), base, 0o700); err != nil {
		return err
	}
	// The code may have put another directory in its place. It could change the mode of that, too.
	made, err := openIn(dir, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return err
	}
	defer made.Close()
	return chmod(made, mode)
}

// chmod changes the mode of a file that was opened by its path only.
func chmod(file *os.File, mode uint32) error { return unix.Chmod(own(file), mode) }

// reopen opens a file that was opened by its path only.
func reopen(file *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(own(file), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// own is a path to a descriptor of this process.
func own(file *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(file.Fd())) }

// grow reserves room for n bytes.
func (f *FS) grow(n int64) error {
	if f.cfg.Grow == nil {
		return nil
	}
	return f.cfg.Grow(n)
}

func (f *FS) wrote(name string, st *unix.Stat_t) {
	if f.cfg.Wrote != nil {
		f.cfg.Wrote(name, st)
	}
}

// Used is the number of bytes in use on the file systems of some directories.
func (f *FS) Used(names ...string) (sum int64, err error) {
	for _, name := range names {
		dir, err := f.open(name, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return 0, err
		}
		var st unix.Statfs_t
		err = unix.Fstatfs(int(dir.Fd()), &st)
		_ = dir.Close()
		if err != nil {
			return 0, err
		}
		sum += int64(st.Blocks-st.Bfree) * st.Bsize //nolint:gosec // a size fits
	}
	return sum, nil
}

// chunk is the number of bytes that are copied at once.
const chunk = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }} //nolint:gochecknoglobals // it has no state

// fill copies content to a new file. It reserves room for each part before it writes it.
func (f *FS) fill(ctx context.Context, file *os.File, content io.Reader) (written int64, err error) {
	buffer := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer buffers.Put(buffer)
	const step = 4 << 20
	reserved := int64(0)
	defer func() {
		if f.cfg.Settle != nil {
			f.cfg.Settle(reserved)
		}
	}()
	for {
		n, readErr := io.ReadFull(content, *buffer)
		if written+int64(n) > reserved {
			more := max(int64(n), min(step, reserved)) // small files need little, large ones few steps
			if err := f.grow(more); err != nil {
				return written, err
			}
			reserved += more
		}
		if _, err := file.Write((*buffer)[:n]); err != nil {
			return written, err
		}
		written += int64(n)
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF):
			return written, ctx.Err()
		case readErr != nil:
			return written, readErr
		case ctx.Err() != nil:
			return written, ctx.Err()
		}
	}
}
