package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kaa-run/kaa/internal/access"
)

// keyFileSlow is after how long without an answer the log says that the file of keys hangs.
const keyFileSlow = 5 * time.Second

// keyFile follows KAA_API_KEYS_FILE.
type keyFile struct {
	path   string // empty for none
	log    *slog.Logger
	set    func([]access.Key)
	read   func(path string) ([]access.Key, error)
	known  os.FileInfo // as it was read last; nil if that failed
	failed string      // what is wrong with the file, as logged last
	done   chan struct{}
}

func newKeyFile(path string, log *slog.Logger, set func([]access.Key)) keyFile {
	return keyFile{path: path, log: log, set: set, read: access.ReadFile, done: make(chan struct{})}
}

// follow reads the file now, sends the result, and reads the file again whenever it has changed, until ctx ends.
func (f *keyFile) follow(ctx context.Context, first chan<- error) {
	defer close(f.done)
	err := f.look(ctx)
	first <- err
	if f.path == "" || err != nil {
		return
	}
	tick := time.NewTicker(keysEvery)
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
			f.log.ErrorContext(ctx, "the keys of KAA_API_KEYS_FILE stay as they were", slog.Any("err", err))
		}
	}
}

// look reads the file if it has changed. Secrets that are mounted are replaced by another file.
func (f *keyFile) look(ctx context.Context) error {
	if f.path == "" {
		return nil
	}
	slow := time.AfterFunc(keyFileSlow, func() {
		f.log.ErrorContext(ctx, "KAA_API_KEYS_FILE does not answer: its keys stay as they were", slog.String("file", f.path))
	})
	defer slow.Stop()
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("KAA_API_KEYS_FILE: %w", err)
	}
	if k := f.known; k != nil && os.SameFile(k, info) && k.ModTime().Equal(info.ModTime()) && k.Size() == info.Size() {
		return nil
	}
	keys, err := f.read(f.path)
	if err != nil {
		f.known = nil // rights to read it may come without a change that is seen
		return fmt.Errorf("KAA_API_KEYS_FILE: %w", err)
	}
	f.known = info
	f.set(keys)
	f.log.InfoContext(ctx, "keys read", slog.String("file", f.path), slog.Int("keys", len(keys)))
	return nil
}

// ended waits for the end of follow, but not for a file system that hangs.
func (f *keyFile) ended(ctx context.Context) {
	if f.done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keysEvery)
	defer cancel()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}
