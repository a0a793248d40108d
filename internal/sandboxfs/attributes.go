package sandboxfs

import (
	"errors"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// errNoAttributes: the file system has no attributes for users. That of memory has them since Linux 6.6.
var errNoAttributes = errors.New("no extended attributes")

// reader reads the extended attributes of the file at a path of this process.
type reader struct {
	path string
	list func(path string, into []byte) (int, error)
	get  func(path, name string, into []byte) (int, error)
}

// ofFile reads those of an opened file.
func ofFile(file *os.File) reader { return reader{own(file), unix.Listxattr, unix.Getxattr} }

// ofChild reads those of an entry of an opened directory, and follows no link.
func ofChild(dir *os.File, base string) reader {
	return reader{own(dir) + "/" + base, unix.Llistxattr, unix.Lgetxattr}
}

// read returns the attributes of the user namespace, and whether there are further ones. Code decides how many an entry has, so
// it reads no more than the bounds of package job. The user of the code must be the one who reads: see as.
func (r reader) read() (all map[string]string, more bool) {
	const others = 1 << 10 // for names that security modules add
	size, err := r.list(r.path, nil)
	if err != nil || size <= 0 {
		return nil, false
	}
	buffer := make([]byte, job.MaxAttributeBytes+others)
	n, err := r.list(r.path, buffer)
	if err != nil {
		return nil, errors.Is(err, unix.ERANGE)
	}
	left := job.MaxAttributeBytes
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buffer[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, job.AttributePrefix) {
			continue
		}
		left -= len(name)
		if left < 0 || len(all) == job.MaxAttributes {
			return all, true
		}
		n, err := r.get(r.path, name, buffer[:left+1]) // an empty buffer would ask for the size
		switch {
		case errors.Is(err, unix.ERANGE), err == nil && n > left:
			left += len(name)
			more = true
		case err == nil:
			if all == nil {
				all = map[string]string{}
			}
			all[name] = string(buffer[:n])
			left -= n
		}
	}
	return all, more
}

// showAttributes adds attributes to the description of an entry, as far as they are text.
func showAttributes(e *job.Entry, all map[string]string, more bool) {
	e.MoreAttributes = more
	for name, value := range all {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			e.MoreAttributes = true
			continue
		}
		if e.Attributes == nil {
			e.Attributes = make(map[string]string, len(all))
		}
		e.Attributes[name] = value
	}
}

// describeAttributes adds those of an entry. Others than files and directories have none.
func (f *FS) describeAttributes(e *job.Entry, st *unix.Stat_t, r reader) {
	if (e.Type == job.EntryFile || e.Type == job.EntryDirectory) && f.inside(st) {
		all, more := r.read()
		showAttributes(e, all, more)
	}
}

// setAttributes gives an opened file its attributes. The caller has checked the names: this process may have the right to set
// others, which setfsuid does not take away.
func setAttributes(fd int, all map[string]string) error {
	for name, value := range all {
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if errors.Is(err, unix.ENOTSUP) {
			return errNoAttributes
		}
		if err != nil {
			return err
		}
	}
	return nil
}
