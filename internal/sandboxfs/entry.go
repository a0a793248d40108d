package sandboxfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// Stat describes what is at a path. A link is described as such.
func (f *FS) Stat(name string) (job.Entry, error) {
	name = f.clean(name)
	var e job.Entry
	err := f.as(func() (err error) {
		e, err = f.stat(name)
		return err
	})
	return e, f.refused(name, err)
}

func (f *FS) stat(name string) (job.Entry, error) {
	file, st, err := f.at(name, false)
	if err != nil {
		return job.Entry{}, err
	}
	defer file.Close()
	e := f.describe(name, &st)
	if e.Type == job.EntryLink {
		f.describeLink(&e, name, int(file.Fd()), "")
	}
	f.describeAttributes(&e, &st, ofFile(file))
	return e, nil
}

// describe describes an entry, without the target of a link and without attributes.
func (f *FS) describe(name string, st *unix.Stat_t) job.Entry {
	e := job.Entry{
		Type: typeOf(st), Size: st.Size, Mode: fmt.Sprintf("%04o", st.Mode&0o7777),
		Owner: f.nameOf(int(st.Uid), f.uid), Group: f.nameOf(int(st.Gid), f.gid),
		Modified: timeOf(st.Mtim), Changed: timeOf(st.Ctim), Accessed: timeOf(st.Atim),
	}
	e.SetPath(name)
	return e
}

// describeLink adds the target of the link base in a directory; the descriptor is the link's own if
// base is empty.
func (f *FS) describeLink(e *job.Entry, name string, dir int, base string) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, base, buffer)
	if err != nil {
		return // it is gone, or another kind of entry by now
	}
	e.SetTarget(string(buffer[:n]))
	file, st, err := f.at(name, true)
	if err != nil {
		return
	}
	_ = file.Close()
	e.TargetType = typeOf(&st)
}

func typeOf(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return job.EntryFile
	case unix.S_IFDIR:
		return job.EntryDirectory
	case unix.S_IFLNK:
		return job.EntryLink
	case unix.S_IFIFO:
		return job.EntryPipe
	case unix.S_IFSOCK:
		return job.EntrySocket
	}
	return job.EntryDevice
}

func timeOf(t unix.Timespec) time.Time { return time.Unix(t.Unix()).UTC() }

// nameOf names a user or a group. The numbers of this machine mean nothing to the code.
func (f *FS) nameOf(id, ofCode int) string {
	switch id {
	case ofCode:
		return "user"
	case 0:
		return "root"
	}
	return strconv.Itoa(id)
}

// regular opens an ordinary file for reading, following links. The caller closes it.
func (f *FS) regular(name string) (file *os.File, st unix.Stat_t, err error) {
	err = f.as(func() error {
		found, now, err := f.at(name, true)
		if errors.Is(err, errOutside) && now.Mode&unix.S_IFMT == unix.S_IFDIR {
			return unix.EISDIR // wherever it is, it could not be read
		}
		if err != nil {
			return err
		}
		defer found.Close()
		switch now.Mode & unix.S_IFMT {
		case unix.S_IFREG:
		case unix.S_IFDIR:
			return unix.EISDIR
		default:
			return errIrregular
		}
		st = now
		file, err = reopen(found, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
		return err
	})
	return file, st, err
}

// ParseMode reads permissions in the form of Entry.Mode.
func ParseMode(text string) (uint32, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	return uint32(mode), err
}
