// Package blob keeps the contents of files, which are too large for Redis: those that come with
// jobs and those that executions leave. Records have their keys only. API and runner processes
// write and read the contents, so all of them need the same store: a directory, or a bucket of
// an S3-compatible store. The client for buckets is a package of its own, so that only the
// binaries that need it are built with it.
//
// Failures: the store cannot be reached or written (job.ErrUnavailable), or a blob does not
// exist (job.ErrNoFile). Methods are safe for concurrent use. A blob exists as a whole or not at
// all.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Bucket stores blobs. Keys are relative paths with slashes.
type Bucket interface {
	// Put writes a blob as a whole or not at all. It replaces an older one of that key.
	Put(ctx context.Context, key string, content io.Reader) error
	// Open returns fs.ErrNotExist for a blob that does not exist.
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	// Delete removes a blob. A missing blob is no error.
	Delete(ctx context.Context, key string) error
	// List calls found for each blob whose key begins with prefix, in any order.
	List(ctx context.Context, prefix string, found func(key string, written time.Time)) error
	Close() error
}

// Opener opens the bucket of a URL. It may need the network.
type Opener func(ctx context.Context, place *url.URL) (Bucket, error)

// Store keeps blobs in one bucket. It opens the bucket on first use, so that a process that
// never sees a file needs none.
type Store struct {
	url  *url.URL
	open Opener

	mu     sync.Mutex
	bucket Bucket
}

// New returns the store of a URL: file:///directory, s3://bucket?region=… or mem://, which is
// for one process and lost with it. s3 opens a bucket of the second kind; it is nil in a binary
// that has no client for buckets.
func New(place string, s3 Opener) (*Store, error) {
	u, err := Parse(place)
	if err != nil {
		return nil, err
	}
	s := &Store{url: u}
	switch u.Scheme {
	case "file":
		s.open = openDir
	case "mem":
		s.open = openMemory
	default:
		if s3 == nil {
			return nil, errors.New("is a bucket, for which this binary has no client; bin/api and bin/runner have one")
		}
		s.open = s3
	}
	return s, nil
}

// Parse checks the URL of a store without opening it.
func Parse(place string) (*url.URL, error) {
	u, err := url.Parse(place)
	if err != nil {
		return nil, errors.New("is not a URL") // the cause would repeat it, and it may hold a secret
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.RawQuery == "":
	case u.Scheme == "mem" && u.Host == "":
	case u.Scheme == "s3" && u.Host != "":
		if _, err := ParseS3(u); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("must be file:///directory, s3://bucket?region=… or mem://")
	}
	return u, nil
}

// opened returns the bucket. If it could not be opened, the next call tries again.
func (s *Store) opened(ctx context.Context) (Bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bucket != nil {
		return s.bucket, nil
	}
	bucket, err := s.open(ctx, s.url)
	if err != nil {
		return nil, fmt.Errorf("open the blob store (KAA_BLOB_URL): %w: %w", job.ErrUnavailable, err)
	}
	s.bucket = bucket
	return bucket, nil
}

// Put writes a blob and returns its size. It replaces an older one of that key.
func (s *Store) Put(ctx context.Context, key string, content io.Reader) (int64, error) {
	bucket, err := s.opened(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counted := &counter{ctx: ctx, r: content, stall: time.AfterFunc(stallTime, func() { cancel(errStalled) })}
	defer counted.stall.Stop()
	err = bucket.Put(ctx, key, counted)
	if counted.err != nil {
		return 0, fmt.Errorf("write blob: read its content: %w", counted.err)
	}
	if err != nil && context.Cause(ctx) == errStalled { //nolint:errorlint // it is this reader or none
		err = errStalled
	}
	return counted.n, wrap("write blob", err)
}

// stallTime is how long a store may take nothing of a blob that is written to it.
const stallTime = 30 * time.Second

var errStalled = errors.New("it has taken nothing for " + stallTime.String())

// Open returns a blob for reading from any position. The caller closes it.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	bucket, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	r, err := bucket.Open(ctx, key)
	if err != nil {
		return nil, wrap("read blob", err)
	}
	return r, nil
}

// Delete removes blobs. Missing blobs are no error.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	bucket, err := s.opened(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		errs = append(errs, wrap("delete blob", bucket.Delete(ctx, key)))
	}
	return errors.Join(errs...)
}

// DeleteAll removes all blobs whose keys begin with prefix.
func (s *Store) DeleteAll(ctx context.Context, prefix string) error {
	keys, err := s.List(ctx, prefix, time.Time{})
	if err != nil || len(keys) == 0 {
		return err
	}
	return s.Delete(ctx, keys...)
}

// List returns the keys that begin with prefix. If before is set, it returns only blobs that
// were written before it. A directory that does not exist has none, and is not made.
func (s *Store) List(ctx context.Context, prefix string, before time.Time) ([]string, error) {
	if s.url.Scheme == "file" {
		if _, err := os.Stat(s.url.Path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	bucket, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	err = bucket.List(ctx, prefix, func(key string, written time.Time) {
		if before.IsZero() || written.Before(before) {
			keys = append(keys, key)
		}
	})
	if err != nil {
		return nil, wrap("list blobs", err)
	}
	return keys, nil
}

// Close releases the store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bucket == nil {
		return nil
	}
	bucket := s.bucket
	s.bucket = nil
	return bucket.Close()
}

// counter counts the bytes that are read. It distinguishes an error of the content from one of
// the store, and ends a copy whose context has ended. While the content is late, the store does
// not stall.
type counter struct {
	ctx   context.Context
	r     io.Reader
	stall *time.Timer
	n     int64
	err   error
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	c.stall.Stop()
	n, err := c.r.Read(p)
	c.stall.Reset(stallTime)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

func wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: %w", op, job.ErrNoFile, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, err)
}
