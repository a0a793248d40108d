// Package blob keeps the content of files, which is too large for Redis: those that come
// with jobs and those that executions leave. Records have their keys only. The api
// process writes and reads it, so does the runner, and so all of them have to be given
// the same place: a directory, or a bucket of an S3-compatible store. It is
// gocloud.dev/blob behind the few calls that Kaa needs; nothing else knows that.
//
// What can fail: the place cannot be reached or written (job.ErrUnavailable), and a blob
// may not be there (job.ErrNoFile). Methods are safe for concurrent use. A blob is there
// as a whole or not at all.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	_ "gocloud.dev/blob/s3blob" // s3://
	"gocloud.dev/gcerrors"

	"github.com/kaa-run/kaa/internal/job"
)

// Store keeps blobs in one place. It is opened when it is first used, so that a process
// that never sees a file needs no place for it.
type Store struct {
	url *url.URL

	mu     sync.Mutex
	bucket *blob.Bucket
}

// New returns the store of a URL: file:///directory, s3://bucket?region=… or mem://,
// which is for one process and lost with it.
func New(place string) (*Store, error) {
	u, err := url.Parse(place)
	if err != nil {
		return nil, errors.New("is not a URL") // the cause would repeat it, and it may hold a secret
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.RawQuery == "":
	case u.Scheme == "s3" && u.Host != "", u.Scheme == "mem" && u.Host == "":
	default:
		return nil, errors.New("must be file:///directory, s3://bucket?region=… or mem://")
	}
	return &Store{url: u}, nil
}

// open returns the bucket. One that could not be opened is tried again the next time.
func (s *Store) open(ctx context.Context) (*blob.Bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bucket != nil {
		return s.bucket, nil
	}
	var err error
	switch s.url.Scheme {
	case "file":
		s.bucket, err = openDir(s.url.Path)
	case "mem":
		s.bucket = memblob.OpenBucket(nil)
	default:
		s.bucket, err = blob.OpenBucket(context.WithoutCancel(ctx), s.url.String())
	}
	if err != nil {
		s.bucket = nil
		return nil, fmt.Errorf("open the blob store (KAA_BLOB_URL): %w: %w", job.ErrUnavailable, err)
	}
	return s.bucket, nil
}

// openDir opens a directory, which is made if it is not there: for this user alone. One
// that is there is the operator's, but not if anybody may have made it.
func openDir(path string) (*blob.Bucket, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := checkPrivate(path); err != nil {
		return nil, err
	}
	return fileblob.OpenBucket(path, &fileblob.Options{
		DirFileMode: 0o700,
		// Temporary files elsewhere could be on another file system, and metadata would be
		// a second file for each.
		NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
	})
}

// Put writes a blob and returns its size. An older one of that key is replaced.
func (s *Store) Put(ctx context.Context, key string, content io.Reader) (int64, error) {
	bucket, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	counted := &counter{r: content}
	// The type is in the record. Given here it need not be guessed.
	w, err := bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return 0, wrap("write blob", err)
	}
	_, err = io.Copy(w, counted)
	if err != nil {
		abort() // else the part would be there
	}
	err = errors.Join(err, w.Close())
	if counted.err != nil {
		return 0, fmt.Errorf("write blob: read its content: %w", counted.err)
	}
	return counted.n, wrap("write blob", err)
}

// Open returns a blob to be read, which the caller closes. It can be read from anywhere.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	bucket, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	r, err := bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, wrap("read blob", err)
	}
	return r, nil
}

// Delete removes blobs; those that are not there are no error.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	bucket, err := s.open(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		if err := bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			errs = append(errs, wrap("delete blob", err))
		}
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

// List returns the keys that begin with prefix; if before is set, of blobs that were
// written before it. A directory that is not there has none, and is not made for that.
func (s *Store) List(ctx context.Context, prefix string, before time.Time) ([]string, error) {
	if s.url.Scheme == "file" {
		if _, err := os.Stat(s.url.Path); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	bucket, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	for list := bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, nil
		}
		if err != nil {
			return nil, wrap("list blobs", err)
		}
		if before.IsZero() || object.ModTime.Before(before) {
			keys = append(keys, object.Key)
		}
	}
}

// Close ends the use of the store.
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

// counter counts what is read, and tells an error of the content from one of the store.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
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
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%s: %w: %w", op, job.ErrNoFile, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, err)
}
