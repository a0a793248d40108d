package config

import (
	"cmp"
	"net/url"

	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
)

// BlobPlace is where files are. Processes that were given no place agree about one if they
// are on the same machine, of the same user and use the same Redis.
func (c *Config) BlobPlace() string {
	redis := ""
	if u, err := url.Parse(string(c.RedisURL)); err == nil {
		redis = u.Host + u.Path // without the password
	}
	return cmp.Or(string(c.BlobURL), blob.DefaultURL(redis))
}

// FileLimits bound what is kept of the files that an execution leaves.
func (c *Config) FileLimits() job.FileLimits {
	return job.FileLimits{Files: c.MaxResultFiles, Bytes: c.MaxResultFileBytes}
}

// bucketBytes is what files may take in a bucket, whose size cannot be asked for.
const bucketBytes = 100 << 30

// FileSpace is what the contents of all files may take where they are kept; 0 is no limit.
func (c *Config) FileSpace() int64 {
	if c.MaxFiles > 0 {
		return c.MaxFiles
	}
	place, err := url.Parse(c.BlobPlace())
	switch {
	case err != nil || place.Scheme == "mem":
		return 0 // the one is refused, the other is for tests
	case place.Scheme == "file":
		return blob.DirectorySize(place.Path) / 2
	}
	return bucketBytes
}
