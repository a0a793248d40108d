package interpreter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/sandboxfs"
	"github.com/kaa-run/kaa/internal/workdir"
)

// InFiles calls do with the file system of the session's sandbox. Several goroutines may call it, also beside
// an execution. The context of do ends when the session is to be closed, and Close waits for do. It returns
// job.ErrNotStarted if the interpreter has ended.
func (s *Session) InFiles(ctx context.Context, do func(ctx context.Context, f job.FileSystem) error) error {
	release, err := s.w.hold()
	if err != nil {
		return fmt.Errorf("files of session %s: %w", s.w.id, err)
	}
	defer release()
	ctx, cancel := s.w.untilClose(ctx)
	defer cancel()
	f, err := s.fileSystem()
	if err != nil && (!s.w.alive() || hasEnded(err)) {
		err = errors.Join(job.ErrNotStarted, err)
	}
	if err == nil {
		err = do(ctx, f)
		s.settleFiles(0)
	}
	if err != nil {
		return fmt.Errorf("files of session %s: %w", s.w.id, err)
	}
	return nil
}

// fileSystem opens the session's file system on its first use.
func (s *Session) fileSystem() (*sandboxfs.FS, error) {
	t, err := s.w.workTree()
	if err != nil {
		return nil, err
	}
	files := &s.w.files
	files.opening.Lock()
	defer files.opening.Unlock()
	if files.system != nil {
		return files.system, nil
	}
	cfg := sandboxfs.Config{Work: "/work", Places: []string{"/work", "/tmp"}, Dir: t.Dir(), Grow: s.growFiles, Settle: s.settleFiles, Wrote: s.wroteFile}
	if s.w.dirName != "" {
		cfg.Work = "/tmp/" + s.w.dirName
	}
	if s.w.pool.cfg.Sandbox == sandbox.Strict {
		// The work directory is mounted in the root, or in /tmp.
		up := strings.Repeat("../", strings.Count(cfg.Work, "/"))
		cfg.Root, err = openPath(int(t.Dir().Fd()), up)
	} else {
		cfg.Alias = s.w.top()
		cfg.Root, err = openPath(unix.AT_FDCWD, cfg.Alias)
	}
	if err != nil {
		return nil, fmt.Errorf("open the root of the sandbox: %w", err)
	}
	if s.w.place != "" && s.w.dirName == "" {
		cfg.Work = s.w.place // the same directory, mounted once more
	}
	files.system, err = sandboxfs.New(cfg)
	return files.system, err
}

// top returns the directory of a sandbox that has no mount namespace.
func (w *Worker) top() string {
	w.slot.mu.Lock()
	defer w.slot.mu.Unlock()
	if w.forks != nil {
		return w.forks.dirs.Top
	}
	return w.dirs.Top
}

func openPath(at int, path string) (*os.File, error) {
	fd, err := unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// wroteFile notes a file that was written from outside, so that the next execution does not report it as its
// own.
func (s *Session) wroteFile(path string, st *unix.Stat_t) {
	work := []string{"/work/"}
	if s.w.dirName != "" {
		work = []string{"/tmp/" + s.w.dirName + "/"}
	} else if s.w.place != "" {
		work = append(work, s.w.place+"/")
	}
	for _, dir := range work {
		if rel, ok := strings.CutPrefix(path, dir); ok {
			s.w.files.note(rel, workdir.StampOf(st))
			return
		}
	}
}

// note notes a file of the working directory that no code has written. knowWritten makes it known.
func (f *files) note(path string, stamp workdir.Stamp) {
	f.opening.Lock()
	defer f.opening.Unlock()
	if len(f.wrote) >= maxWrote {
		return
	}
	if f.wrote == nil {
		f.wrote = map[string]workdir.Stamp{}
	}
	f.wrote[path] = stamp
}

// maxWrote bounds the files that are noted between two executions. Further ones are reported.
const maxWrote = 20_000

// knowWritten makes the files that were written from outside known. The caller collects files then.
func (f *files) knowWritten() {
	f.opening.Lock()
	wrote := f.wrote
	f.wrote = nil
	f.opening.Unlock()
	for path, stamp := range wrote {
		f.known.Put(path, stamp)
	}
}

// settleFiles ends reservations of n bytes, and corrects the count of files.
func (s *Session) settleFiles(n int64) {
	slot := s.w.slot
	slot.charging.Lock()
	defer slot.charging.Unlock()
	slot.reserved -= n
	s.recountFiles()
}

// recountFiles lowers the count of files put into the sandbox to the size of all files in it, and of those that
// are being written. The caller holds charging.
func (s *Session) recountFiles() {
	slot := s.w.slot
	if slot.put.Load() == 0 || !s.counts() {
		return
	}
	s.w.files.opening.Lock()
	f := s.w.files.system
	s.w.files.opening.Unlock()
	if f == nil {
		return
	}
	used, err := f.Used(append(slot.copyDirs(), "/work", "/tmp")...)
	if err == nil && used+slot.reserved < slot.put.Load() {
		slot.put.Store(used + slot.reserved)
		_ = slot.group.Limit(slot.limited(s.quota)) // the limit only rises, so an error does no harm
	}
}

// diskAge is how long the size of a sandbox's files on the disk is believed.
const diskAge = time.Second

// growFiles reserves room for n more bytes of files: see charge.go.
func (s *Session) growFiles(n int64) error {
	slot := s.w.slot
	slot.charging.Lock()
	defer slot.charging.Unlock()
	slot.elsewhere = true
	switch {
	case !s.inMemory():
		return s.growOnDisk(n)
	case !s.counts():
		if slot.memory()+n > s.quota.MemoryBytes-chargeSpare {
			return sandboxfs.NoRoom()
		}
		slot.reserved += n
		return nil
	case slot.put.Load()+n+slot.group.Held() > s.quota.MemoryBytes-chargeSpare:
		s.recountFiles() // the code may have removed some
		if slot.put.Load()+n+slot.group.Held() > s.quota.MemoryBytes-chargeSpare {
			return sandboxfs.NoRoom()
		}
	}
	slot.put.Add(n)
	if err := slot.group.Limit(slot.limited(s.quota)); err != nil {
		slot.put.Add(-n)
		return sandboxfs.NoRoom()
	}
	slot.reserved += n
	return nil
}

// growOnDisk does that where the sandbox has no file system of its own.
func (s *Session) growOnDisk(n int64) error {
	slot := s.w.slot
	if time.Since(slot.diskAt) > diskAge {
		slot.disk, slot.diskAt = bytesBelow(s.w.top()), time.Now()
	}
	if slot.disk+n > s.quota.DiskBytes {
		return sandboxfs.NoRoom()
	}
	slot.disk += n
	slot.reserved += n
	return nil
}

// bytesBelow returns the disk space of the files in a directory. It looks at a bounded number of them.
func bytesBelow(top string) (sum int64) {
	seen := 0
	_ = filepath.WalkDir(top, func(_ string, d os.DirEntry, err error) error {
		if seen++; seen > maxWrote {
			return filepath.SkipAll
		}
		if err != nil {
			return nil //nolint:nilerr // it is gone, or the code has made it unreadable
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}
