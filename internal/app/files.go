package app

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// blobURL is where files are. Processes that were given no place agree about one if they
// are on the same machine, of the same user and use the same Redis.
func (c *Config) blobURL() string {
	redis := ""
	if u, err := url.Parse(string(c.RedisURL)); err == nil {
		redis = u.Host + u.Path // without the password
	}
	return cmp.Or(string(c.BlobURL), blob.DefaultURL(redis))
}

// fileLimits bound what is kept of the files that an execution leaves.
func (c *Config) fileLimits() job.FileLimits {
	return job.FileLimits{Files: c.MaxResultFiles, Bytes: c.MaxResultFileBytes}
}

// bucketBytes is what files may take in a bucket, of which nobody knows how large it is.
const bucketBytes = 100 << 30

// maxFiles is what the contents of all files may take where they are kept; 0 is no limit.
func (c *Config) maxFiles() int64 {
	if c.MaxFiles > 0 {
		return c.MaxFiles
	}
	place, err := url.Parse(c.blobURL())
	switch {
	case err != nil || place.Scheme == "mem":
		return 0 // the one is refused, the other is for tests
	case place.Scheme == "file":
		return blob.DirectorySize(place.Path) / 2
	}
	return bucketBytes
}

// startCleaner begins to delete the blobs of jobs that have expired.
func (s *shared) startCleaner(ctx context.Context) stage {
	c := runner.NewCleaner(s.store, countedBlobs{s.blobs, s.metrics}, s.periods.Periods, s.log)
	c.Start(ctx)
	return stage{"cleaner", 2 * time.Second, func(context.Context) error { c.Close(); return nil }}
}

// close closes what every process has, last of all.
func (s *shared) close() error { return errors.Join(s.blobs.Close(), s.rdb.Close()) }
