package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

const (
	// fileEvery is how often a file is asked for changes.
	fileEvery = keysEvery
	// fileSlow is after how long without an answer the log says that a file hangs.
	fileSlow = 5 * time.Second
)

// followedFile is a file of the operator that is read again when it changes. Its entries stay as they were while it cannot be read.
type followedFile[E any] struct {
	path     string // empty for none
	variable string // that names it
	what     string // it lists
	log      *slog.Logger
	set      func([]E)
	read     func(path string) ([]E, error)
	known    os.FileInfo // as it was read last; nil if that failed
	failed   string      // what is wrong with the file, as logged last
	done     chan struct{}
}

// follow reads the file now, sends the result, and reads the file again whenever it has changed, until ctx ends.
func (f *followedFile[E]) follow(ctx context.Context, first chan<- error) {
	defer close(f.done)
	err := f.look(ctx)
	first <- err
	if f.path == "" || err != nil {
		return
	}
	tick := time.NewTicker(fileEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := f.look(ctx); err == nil {
			f.failed = ""
		} else if text := err.Error(); text != f.failed {
			f.failed = text
			f.log.ErrorContext(ctx, "the "+f.what+" of "+f.variable+" stay as they were", slog.Any("err", err))
		}
	}
}

// look reads the file if it has changed. Secrets that are mounted are replaced by another file.
func (f *followedFile[E]) look(ctx context.Context) error {
	if f.path == "" {
		return nil
	}
	slow := time.AfterFunc(fileSlow, func() {
		f.log.ErrorContext(ctx, f.variable+" does not answer: its "+f.what+" stay as they were", slog.String("file", f.path))
	})
	defer slow.Stop()
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("%s: %w", f.variable, err)
	}
	if k := f.known; k != nil && os.SameFile(k, info) && k.ModTime().Equal(info.ModTime()) && k.Size() == info.Size() {
		return nil
	}
	all, err := f.read(f.path)
	if err != nil {
		f.known = nil // rights to read it may come without a change that is seen
		return fmt.Errorf("%s: %w", f.variable, err)
	}
	f.known = info
	f.set(all)
	f.log.InfoContext(ctx, f.what+" read", slog.String("file", f.path), slog.Int(f.what, len(all)))
	return nil
}

// ended waits for the end of follow, but not for a file system that hangs.
func (f *followedFile[E]) ended(ctx context.Context) {
	if f.done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fileEvery)
	defer cancel()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}
