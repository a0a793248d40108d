package sandboxfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// The bounds of watching.
const (
	maxWatches = 16    // of one sandbox at a time
	maxWatched = 4_096 // directories of one watch
	// inotifyBuffer holds many events. The largest event is smaller than a page.
	inotifyBuffer = 64 << 10
	// settle is the time in which repeated writes to a file are one event.
	settle = 20 * time.Millisecond
	// maxEvents is the number of events that are kept until they are reported; more are an overflow.
	maxEvents = 10_000
	maxOwn    = 1_000 // moves that are remembered
)

const watchMask = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// Watch reports changes of the entries of a directory, and with recursive of all directories below it, until ctx
// ends, the directory is removed or moved, or report fails. ready is called once changes are seen. The error
// is nil if the directory is gone.
func (f *FS) Watch(ctx context.Context, name string, recursive bool, ready func(), report func([]job.FileEvent) error) error {
	name = f.clean(name)
	f.watching.Lock()
	full := f.watches >= maxWatches
	if !full {
		f.watches++
	}
	f.watching.Unlock()
	if full {
		return &job.RefusedError{Message: fmt.Sprintf("the session has %d watches, which is all it may; end some of them", maxWatches)}
	}
	defer func() {
		f.watching.Lock()
		f.watches--
		f.watching.Unlock()
	}()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return &job.RefusedError{Message: "the runner has as many watches as its machine allows (fs.inotify.max_user_instances); end some of them, or try again later"}
	}
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	w := &watch{f: f, fd: fd, notify: os.NewFile(uintptr(fd), "inotify"), recursive: recursive, paths: map[int32]string{}, own: map[uint32]bool{}, report: report}
	defer w.notify.Close()
	if err := w.begin(name); err != nil {
		return f.refused(name, err)
	}
	ready()
	stop := context.AfterFunc(ctx, func() { _ = w.notify.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = w.follow(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// watch is one watch. One goroutine uses it.
type watch struct {
	f      *FS
	fd     int // of notify; File.Fd would make it block
	notify *os.File
	// name and inode are those of the directory. It is not kept open, because the kernel reports its
	// removal only once no process has it open.
	name      string
	inode     uint64
	recursive bool
	paths     map[int32]string // of the watched directories, by their number; "" is the directory itself
	report    func([]job.FileEvent) error
	events    []job.FileEvent // to be reported
	own       map[uint32]bool // moves of files that were written from outside, by their cookie
	gone      bool
}

// errWatches: the machine allows no more.
var errWatches error = &job.RefusedError{Message: fmt.Sprintf("the tree has more directories than can be watched: at most %d, and no more than the machine allows (fs.inotify.max_user_watches); watch a part of it", maxWatched)}

func (w *watch) begin(name string) error {
	return w.f.as(func() error {
		top, st, err := w.f.at(name, true)
		if err != nil {
			return err
		}
		defer top.Close()
		w.name, w.inode = name, st.Ino
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			err = unix.ENOTDIR
		} else if err = w.add(top, ""); err == nil && w.recursive {
			err = w.addBelow(top, "", false)
		}
		return err
	})
}

// open opens a directory in the tree by its path only.
func (w *watch) open(rel string) (top, dir *os.File, err error) {
	top, st, err := w.f.at(w.name, true)
	if err == nil && st.Ino != w.inode {
		err = errors.Join(unix.ENOENT, top.Close())
	}
	if err != nil {
		return nil, nil, err
	}
	if dir, err = openIn(top, rel, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, beneath); err != nil {
		_ = top.Close()
	}
	return top, dir, err
}

// add watches a directory that was opened by its path only.
func (w *watch) add(dir *os.File, rel string) error {
	if len(w.paths) >= maxWatched {
		return errWatches
	}
	n, err := unix.InotifyAddWatch(w.fd, own(dir), watchMask)
	if errors.Is(err, unix.ENOSPC) {
		return errWatches
	}
	if err == nil {
		w.paths[int32(n)] = rel //nolint:gosec // the kernel's numbers are small
	}
	return err
}

// addBelow watches the directories below a watched one. With came it reports the entries that
// are there: they came before the watch did.
func (w *watch) addBelow(top *os.File, rel string, came bool) error {
	dir, err := openIn(top, rel, unix.O_RDONLY|unix.O_DIRECTORY, beneath)
	if err != nil {
		return nil //nolint:nilerr // it is gone, or the user of the code may not read it
	}
	walk := &walker{f: w.f, ctx: context.Background(), depth: maxDepth, visit: func(dir *os.File, below, base string, st *unix.Stat_t) error {
		child, isDir := strings.TrimPrefix(rel+"/"+below, "/"), st.Mode&unix.S_IFMT == unix.S_IFDIR
		if came && !strings.HasPrefix(base, tempPrefix) {
			w.note(job.FileCreated, child, isDir)
		}
		if !isDir {
			return nil
		}
		opened, err := openIn(dir, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, beneath)
		if err != nil {
			return nil //nolint:nilerr // it is gone, or another file system
		}
		defer opened.Close()
		if err = w.add(opened, child); errors.Is(err, errWatches) {
			return err
		}
		return nil
	}}
	return walk.enter(dir, "", 1)
}

// follow reads events until the directory is gone.
func (w *watch) follow(ctx context.Context) error {
	buffer := make([]byte, inotifyBuffer)
	for !w.gone {
		n, err := w.notify.Read(buffer)
		if err != nil {
			return fmt.Errorf("watch files: %w", err)
		}
		if len(w.own) > maxOwn {
			clear(w.own) // their other halves were not in a watched directory
		}
		w.take(buffer[:n])
		if len(w.events) == 0 {
			continue
		}
		if err := w.report(w.events); err != nil {
			return err
		}
		w.events = nil
		select { // what is written meanwhile comes as one event
		case <-time.After(settle):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take decodes events as inotify(7) describes them.
func (w *watch) take(data []byte) {
	const header = unix.SizeofInotifyEvent
	for len(data) >= header {
		number := int32(binary.NativeEndian.Uint32(data)) //nolint:gosec // the kernel's numbers are small
		mask, cookie := binary.NativeEndian.Uint32(data[4:]), binary.NativeEndian.Uint32(data[8:])
		end := header + int(binary.NativeEndian.Uint32(data[12:]))
		base := strings.TrimRight(string(data[header:end]), "\x00")
		data = data[end:]
		w.one(number, mask, cookie, base)
	}
}

func (w *watch) one(number int32, mask, cookie uint32, base string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		w.note(job.FileOverflow, "", false)
		return
	}
	dir, known := w.paths[number]
	if !known {
		return
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(w.paths, number)
		w.gone = w.gone || dir == ""
		return
	}
	if mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0 {
		if dir == "" && !w.gone {
			w.note(job.FileRemoved, ".", true)
			w.gone = true
		}
		return // the directory above reports it
	}
	rel, isDir := strings.TrimPrefix(dir+"/"+base, "/"), mask&unix.IN_ISDIR != 0
	if base == "" {
		if dir != "" {
			return // the directory above reports it
		}
		rel = "."
	}
	if strings.HasPrefix(base, tempPrefix) {
		if mask&unix.IN_MOVED_FROM != 0 {
			w.own[cookie] = true
		}
		return
	}
	w.translate(mask, cookie, rel, isDir)
}

func (w *watch) translate(mask, cookie uint32, rel string, isDir bool) {
	switch {
	case mask&unix.IN_CREATE != 0, mask&unix.IN_MOVED_TO != 0:
		w.note(job.FileCreated, rel, isDir)
		if w.own[cookie] && cookie != 0 {
			w.note(job.FileWritten, rel, isDir)
		}
		if isDir && w.recursive {
			w.came(rel)
		}
	case mask&unix.IN_MODIFY != 0:
		w.note(job.FileWritten, rel, isDir)
	case mask&unix.IN_ATTRIB != 0:
		w.note(job.FileChmod, rel, isDir)
	case mask&unix.IN_DELETE != 0:
		w.note(job.FileRemoved, rel, isDir)
	case mask&unix.IN_MOVED_FROM != 0:
		w.note(job.FileRenamed, rel, isDir)
		if isDir && w.recursive {
			w.left(rel)
		}
	}
}

// came watches a directory that is new in the tree.
func (w *watch) came(rel string) {
	err := w.f.as(func() error {
		top, dir, err := w.open(rel)
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		defer top.Close()
		defer dir.Close()
		if err := w.add(dir, rel); err != nil {
			return err
		}
		return w.addBelow(top, rel, true)
	})
	if errors.Is(err, errWatches) {
		w.note(job.FileOverflow, rel, true)
	}
}

// left ends the watches of a directory that was moved away. If it is still in the tree, came follows.
func (w *watch) left(rel string) {
	for number, dir := range w.paths {
		if dir == rel || strings.HasPrefix(dir, rel+"/") {
			_, _ = unix.InotifyRmWatch(w.fd, uint32(number)) //nolint:gosec // the kernel's numbers are small
			delete(w.paths, number)
		}
	}
}

// note adds an event, unless it repeats the one before.
func (w *watch) note(kind, rel string, isDir bool) {
	e := job.FileEvent{Type: kind, Directory: isDir}
	e.Path, e.Escaped = job.EscapePath(rel)
	n := len(w.events)
	if n == maxEvents {
		e = job.FileEvent{Type: job.FileOverflow}
	}
	if n > maxEvents || n > 0 && w.events[n-1] == e {
		return
	}
	w.events = append(w.events, e)
}
