package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const dirPrefix = "kaa-blobs-"

// DefaultURL is the store of processes that were given none: a directory of this user and of its
// Redis. All processes of one machine derive the same; processes of several machines cannot.
func DefaultURL(redis string) string {
	sum := sha256.Sum256([]byte(redis))
	name := dirPrefix + strconv.Itoa(os.Getuid()) + "-" + hex.EncodeToString(sum[:4])
	return "file://" + filepath.Join(os.TempDir(), name)
}

// checkPrivate refuses a directory that another user could have made, in a place where all users
// may make files.
func checkPrivate(path string) error {
	parent, err := os.Stat(filepath.Dir(path)) //nolint:gosec // the operator's path
	if err != nil {
		return err
	}
	if parent.Mode()&fs.ModeSticky == 0 || parent.Mode().Perm()&0o002 == 0 {
		return nil
	}
	info, err := os.Lstat(path) //nolint:gosec // the operator's path
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return errors.New("it is no directory")
	case !ok || int(stat.Uid) != os.Getuid():
		return fmt.Errorf("the directory belongs to user %d and is in one where every user may make others", stat.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return errors.New("others may use the directory, and it is in one where every user may make others")
	}
	return nil
}
