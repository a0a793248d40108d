package blob

import (
	"path/filepath"
	"syscall"
)

// DirectorySize is the size of the file system of a directory, or of the one that it would be
// made on. It is 0 if it is unknown.
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
