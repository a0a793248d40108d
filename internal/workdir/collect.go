package workdir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// Keep stores a file that is collected.
type Keep = func(f job.Found, content io.Reader) error

// keepers is the number of files that are stored at once, because a store may be far away.
const keepers = 8

// Collection passes on the files of a working directory that the code has created or changed.
// It is used once.
type Collection struct {
	Tree *Tree
	Keep Keep // called by several goroutines
	// Known files are left out as long as they are unchanged.
	Known Known
	// Skip, if it is not nil, leaves out further files.
	Skip func(Found) bool

	found   []Found // all that exist
	mu      sync.Mutex
	dropped job.FilesDropped
	err     error // the first of Keep's
	// sums, if it is not nil, gets a hash of the content of each file that was kept.
	sums map[uint64]uint64
}

// Collect passes on files within the limits, and counts the others. The error is the first of
// Keep's.
func (c *Collection) Collect(ctx context.Context, most job.FileLimits) (job.FilesDropped, error) {
	c.collect(ctx, most)
	return c.dropped, c.err
}

// CollectLive does the same in a directory that code goes on to change. It also returns the
// known files for the next collection. These include files that were not kept, because they are
// reported once.
func (c *Collection) CollectLive(ctx context.Context, most job.FileLimits) (Known, job.FilesDropped, error) {
	c.sums = map[uint64]uint64{}
	began := clock()
	c.collect(ctx, most)
	return c.after(began), c.dropped, c.err
}

func (c *Collection) collect(ctx context.Context, most job.FileLimits) {
	all, complete := c.Tree.Search(ctx)
	if !complete {
		c.dropped.Incomplete = true
		c.dropped.Reason = "there was too much to look at all of it"
	}
	files := make(chan Found)
	var storing sync.WaitGroup
	for range min(keepers, len(all)) {
		storing.Go(func() {
			for f := range files {
				c.store(ctx, f)
			}
		})
	}
	for _, f := range all {
		if c.Known.has(c.Tree, f) || c.Skip != nil && c.Skip(f) {
			continue
		}
		switch {
		case most.Files <= 0:
			c.drop(f, "the limit of files that are kept is reached")
		case f.Stamp.Size > most.Bytes:
			c.drop(f, "the limit of bytes that are kept is reached")
		case len(f.Path) > maxPath:
			c.drop(f, fmt.Sprintf("its path is longer than %d bytes", maxPath))
		default:
			most.Files--
			most.Bytes -= f.Stamp.Size
			files <- f
		}
	}
	close(files)
	storing.Wait()
	c.found = all
}

func (c *Collection) drop(f Found, reason string) { c.count(f, reason, false) }

// count counts a file that is not kept. full: it has no room beside other files that are kept.
func (c *Collection) count(f Found, reason string, full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped.Count++
	c.dropped.Bytes += f.Stamp.Size
	if c.dropped.Reason == "" {
		c.dropped.Reason, c.dropped.Full = reason, full
	}
	if c.dropped.First == "" {
		c.dropped.First = job.NewFile(f.Path, 0, "").Path
	}
}

func (c *Collection) store(ctx context.Context, f Found) {
	if ctx.Err() != nil {
		c.drop(f, "there was no time left to keep it")
		return
	}
	file, now, err := c.Tree.Open(f.Path)
	if err != nil {
		c.drop(f, "it could not be read")
		return
	}
	defer file.Close()
	size := min(f.Stamp.Size, now.Size) // it may have grown, and counts with its old size
	sum := newSum()
	err = c.Keep(job.Found{Path: f.Path, Size: size}, io.TeeReader(io.LimitReader(file, size), sum))
	if full, ok := errors.AsType[*job.FilesFullError](err); ok {
		c.count(f, full.Error(), true)
		return
	}
	if err != nil {
		c.drop(f, "it could not be stored")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	if c.sums != nil && err == nil {
		c.sums[nameOf(f.Path)] = sum.Sum64()
	}
}

// after returns the known files after a collection that began at a time of the file system's
// clock.
func (c *Collection) after(began unix.Timespec) Known {
	k := make(Known, len(c.found))
	for _, f := range c.found {
		name := nameOf(f.Path)
		now := seen{stamp: f.Stamp, young: f.Stamp.changed.Nano() >= began.Nano()}
		if now.young {
			now.sum, now.read = c.sums[name]
			if was := c.Known[name]; !now.read && was.stamp == f.Stamp {
				now.sum, now.read = was.sum, was.read // it was compared
			}
		}
		k[name] = now
	}
	return k
}

// clock is the clock with which file systems stamp changes.
func clock() unix.Timespec {
	var now unix.Timespec
	// It cannot fail with an existing clock.
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now)
	return now
}

// IsEmpty reports whether a directory is known to be empty.
func IsEmpty(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}
