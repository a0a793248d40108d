package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Channels are the connections to a worker: our ends, which Go's poller watches, and
// the worker's, which are closed here once the worker has them.
type Channels struct {
	Stdin                   *Inlet
	Stdout, Stderr, Control *os.File
	Theirs                  []int // in the order of the worker's descriptors
}

// OpenChannels makes stdin, stdout, stderr and the control socket, for code of the user
// owner; 0 is this process's own.
func OpenChannels(owner int) (*Channels, error) {
	c := &Channels{Stdin: &Inlet{fd: -1}, Theirs: make([]int, 0, 4)}
	pipe := func() (r, w int, err error) { return newPipe(owner) }
	theirs, ours, err := pipe()
	if err == nil {
		c.Theirs, c.Stdin.fd = append(c.Theirs, theirs), ours
		c.Stdout, err = c.add("stdout", pipe)
	}
	if err == nil {
		c.Stderr, err = c.add("stderr", pipe)
	}
	if err == nil {
		c.Control, err = c.add("control", newControl)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open channels: %w", err), c.Close())
	}
	return c, nil
}

// add makes one channel and returns our end.
func (c *Channels) add(name string, pair func() (ours, theirs int, err error)) (*os.File, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	c.Theirs = append(c.Theirs, theirs)
	return watched(ours, name)
}

// CloseTheirs may be called again.
func (c *Channels) CloseTheirs() {
	for _, fd := range c.Theirs {
		_ = unix.Close(fd)
	}
	c.Theirs = nil
}

// Close closes all that is open.
func (c *Channels) Close() error {
	c.CloseTheirs()
	errs := []error{c.Stdin.Close()}
	for _, f := range []*os.File{c.Stdout, c.Stderr, c.Control} {
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

// Inlet is our end of the code's standard input. Most code gets nothing, which takes no
// poller: it is made a file for what does not.
type Inlet struct {
	mu   sync.Mutex
	fd   int      // -1 once it is closed, or a file
	file *os.File // closed by Close
}

// Write gives the code all of text. Close ends it.
func (in *Inlet) Write(text string) error {
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
func (in *Inlet) Close() error {
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
