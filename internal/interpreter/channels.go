package interpreter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// channels are the connections to a worker: our ends, which Go's poller watches, and
// the worker's, which are closed here once the worker has them.
type channels struct {
	stdin                   *inlet
	stdout, stderr, control *os.File
	theirs                  []int // in the order of the worker's descriptors
}

// openChannels makes stdin, stdout, stderr and the control socket, for code of the user
// owner; 0 is this process's own.
func openChannels(owner int) (*channels, error) {
	c := &channels{stdin: &inlet{fd: -1}, theirs: make([]int, 0, 4)}
	pipe := func() (r, w int, err error) { return newPipe(owner) }
	theirs, ours, err := pipe()
	if err == nil {
		c.theirs, c.stdin.fd = append(c.theirs, theirs), ours
		c.stdout, err = c.add("stdout", pipe)
	}
	if err == nil {
		c.stderr, err = c.add("stderr", pipe)
	}
	if err == nil {
		c.control, err = c.add("control", newControl)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open channels: %w", err), c.close())
	}
	return c, nil
}

// add makes one channel and returns our end.
func (c *channels) add(name string, pair func() (ours, theirs int, err error)) (*os.File, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	c.theirs = append(c.theirs, theirs)
	return watched(ours, name)
}

// closeTheirs may be called again.
func (c *channels) closeTheirs() {
	for _, fd := range c.theirs {
		_ = unix.Close(fd)
	}
	c.theirs = nil
}

// close closes all that is open.
func (c *channels) close() error {
	c.closeTheirs()
	errs := []error{c.stdin.Close()}
	for _, f := range []*os.File{c.stdout, c.stderr, c.control} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// watched makes a file of a new descriptor, which it closes if it fails.
func watched(fd int, name string) (*os.File, error) {
	// Only then do deadlines work, and does closing end a read. It has no other flag, so
	// there is no need to ask for them first, as SetNonblock does.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// inlet is our end of the code's standard input. Most code gets nothing, which takes no
// poller: it is made a file for what does not.
type inlet struct {
	mu   sync.Mutex
	fd   int      // -1 once it is closed, or a file
	file *os.File // closed by Close
}

// write gives the code all of text. Close ends it.
func (in *inlet) write(text string) error {
	in.mu.Lock()
	if in.fd >= 0 {
		in.file, _ = watched(in.fd, "stdin") // it can: the descriptor is open
		in.fd = -1
	}
	file := in.file
	in.mu.Unlock()
	if file == nil {
		return os.ErrClosed
	}
	_, err := io.WriteString(file, text)
	return err
}

// Close is idempotent.
func (in *inlet) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.file != nil {
		if err := in.file.Close(); !errors.Is(err, os.ErrClosed) {
			return err
		}
		return nil
	}
	if in.fd < 0 {
		return nil
	}
	fd := in.fd
	in.fd = -1
	return unix.Close(fd)
}
