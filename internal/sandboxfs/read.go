package sandboxfs

import (
	"io"

	"github.com/kaa-run/kaa/internal/job"
)

// Read calls use with a part of an ordinary file's content: length bytes from offset on. A negative
// offset counts from the end, and a negative length is all that follows. A file that grows
// meanwhile has the size that it had.
func (f *FS) Read(name string, offset, length int64, use func(e job.Entry, offset, length int64, content io.Reader) error) error {
	name = f.clean(name)
	file, st, err := f.regular(name)
	if err != nil {
		return f.refused(name, err)
	}
	defer file.Close()
	if offset < 0 {
		offset = max(0, st.Size+offset)
	}
	offset = min(offset, st.Size)
	if length < 0 || length > st.Size-offset {
		length = st.Size - offset
	}
	return use(f.describe(name, &st), offset, length, io.NewSectionReader(file, offset, length))
}
