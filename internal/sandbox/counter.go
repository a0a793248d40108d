package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// counter is a file of a control group that stays open, because it is read with each execution:
// to open and close it takes several times as long as to read it. It is no os.File, which the
// poller would watch. A nil or closed counter reads as 0.
type counter struct {
	mu sync.RWMutex // held while fd is used: a closed one may be another file's number
	fd int          // -1 once closed
}

// counterSize has room for the files that are read; the values are at their beginning.
const counterSize = 512

// openCounter returns nil for a file that this kernel does not have.
func openCounter(path string, mode int) (*counter, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, mode|unix.O_CLOEXEC, 0) })
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, nil //nolint:nilnil // as above
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &counter{fd: fd}, nil
}

// retry repeats a call that a signal has interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// read returns the part of buf that it has filled.
func (c *counter) read(buf []byte) []byte {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.fd < 0 {
		return nil
	}
	// The kernel makes the text anew for each read from the start.
	n, err := retry(func() (int, error) { return unix.Pread(c.fd, buf, 0) })
	if err != nil { // the group may have been removed
		return nil
	}
	return buf[:n]
}

// number returns the only number in the file.
func (c *counter) number() int64 {
	var buf [counterSize]byte
	n, err := strconv.ParseInt(string(bytes.TrimSpace(c.read(buf[:]))), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// field returns the number in the line that begins with name.
func (c *counter) field(name string) int64 {
	var buf [counterSize]byte
	text := c.read(buf[:])
	for len(text) > 0 {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		text = rest
		key, value, ok := bytes.Cut(line, []byte{' '})
		if !ok || !whole || string(key) != name {
			continue
		}
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// reset sets the number to 0, if the file is open for that.
func (c *counter) reset() {
	if c == nil {
		return
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.fd >= 0 {
		_, _ = retry(func() (int, error) { return unix.Pwrite(c.fd, []byte{'0'}, 0) })
	}
}

func (c *counter) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
	}
	c.fd = -1
}
