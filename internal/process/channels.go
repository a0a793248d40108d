package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Channels are the connections to a worker: the runner's ends, which Go's poller watches, and
// the worker's ends, which the runner closes once the worker has them.
type Channels struct {
	Stdin                   *Inlet
	Stdout, Stderr, Control *os.File
	Theirs                  []int // in the order of the worker's descriptors
}

// OpenChannels makes stdin, stdout, stderr and the control socket. The code runs as the user
// owner; 0 is this process's own user.
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

// add makes one channel and returns the runner's end.
func (c *Channels) add(name string, pair func() (ours, theirs int, err error)) (*os.File, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	c.Theirs = append(c.Theirs, theirs)
	return watched(ours, name)
}

// CloseTheirs closes the worker's ends. Further calls do nothing.
func (c *Channels) CloseTheirs() {
	for _, fd := range c.Theirs {
		_ = unix.Close(fd)
	}
	c.Theirs = nil
}

// Close closes all ends that are open.
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

// watched makes a file that Go's poller watches from a new descriptor. It closes the descriptor
// if that fails.
func watched(fd int, name string) (*os.File, error) {
	// Deadlines work only on a nonblocking descriptor, and only then does closing it end a
	// read. A new descriptor has no other flags, so there is no need to read them first, as
	// SetNonblock does.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Inlet is the runner's end of the code's standard input. Most code gets no input, which needs
// no poller. So the first Write makes the file that the poller watches.
type Inlet struct {
	mu   sync.Mutex
	fd   int      // -1 once it is closed, or part of file
	file *os.File // closed by Close
}

// Write writes all of text to the code's standard input. Close ends a Write that waits.
func (in *Inlet) Write(text string) error {
	in.mu.Lock()
	if in.fd >= 0 {
		in.file, _ = watched(in.fd, "stdin") // no error: the descriptor is open
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

// Close closes the standard input. Further calls do nothing.
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
