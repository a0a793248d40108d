package blob

import (
	"path/filepath"
	"syscall"
)

// DirectorySize is how many bytes the file system has that a directory is on, or will be on when it is
// made; 0 if nobody knows.
func DirectorySize(path string) int64 {
	var fs syscall.Statfs_t
	for syscall.Statfs(path, &fs) != nil {
		if path == filepath.Dir(path) {
			return 0
		}
		path = filepath.Dir(path)
	}
	return int64(fs.Blocks) * int64(fs.Bsize) //nolint:gosec,unconvert // types differ by platform
}
