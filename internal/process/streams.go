package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Streams are the standard streams of a command: the runner's ends, which Go's poller watches, and the
// command's ends.
type Streams struct {
	Stdin          io.WriteCloser
	Stdout, Stderr io.ReadCloser
	// Theirs are the command's ends: of each stream, or of the terminal.
	Theirs []int

	terminal *os.File // the runner's end of it; then Stderr is nil
}

// OpenPipes makes pipes. The command runs as the user owner; 0 is this process's own user.
func OpenPipes(owner int) (*Streams, error) {
	s := &Streams{}
	theirs, ours, err := newPipe(owner)
	if err == nil {
		s.Theirs = append(s.Theirs, theirs)
		s.Stdin, err = opened(ours, "stdin")
	}
	if err == nil {
		s.Stdout, err = s.output("stdout", owner)
	}
	if err == nil {
		s.Stderr, err = s.output("stderr", owner)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open pipes: %w", err), s.Close())
	}
	return s, nil
}

func (s *Streams) output(name string, owner int) (io.ReadCloser, error) {
	ours, theirs, err := newPipe(owner)
	if err != nil {
		return nil, err
	}
	s.Theirs = append(s.Theirs, theirs)
	return opened(ours, name)
}

// opened is watched without the nil file that would be a stream.
func opened(fd int, name string) (stream, error) {
	f, err := watched(fd, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

type stream interface {
	io.ReadWriteCloser
}

// OpenTerminal makes a terminal of the machine, for a command in the machine's file system.
func OpenTerminal(owner int, columns, rows uint16) (*Streams, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	s := &Streams{}
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	if err == nil {
		// By the terminal itself, because its path is that of another one in another mount namespace.
		theirs, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if err = error(errno); errno == 0 {
			s.Theirs, err = append(s.Theirs, int(theirs)), nil
		}
	}
	if err == nil && owner != 0 {
		err = unix.Fchown(s.Theirs[0], owner, owner)
	}
	if err == nil {
		err = readsUTF8(s.Theirs[0])
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open terminal: %w", err), unix.Close(fd), s.Close())
	}
	if err := s.UseTerminal(os.NewFile(uintptr(fd), "terminal")); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, s.Resize(columns, rows)
}

// readsUTF8 makes the terminal's line editor erase whole characters.
func readsUTF8(fd int) error {
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Iflag |= unix.IUTF8
	return unix.IoctlSetTermios(fd, unix.TCSETS, settings)
}

// UseTerminal makes the streams those of a terminal, of which file is the runner's end. It takes the
// file over.
func (s *Streams) UseTerminal(file *os.File) error {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_ = file.Close()
	if err != nil {
		return fmt.Errorf("use terminal: %w", err)
	}
	if s.terminal, err = watched(fd, "terminal"); err != nil {
		return err
	}
	s.Stdin, s.Stdout = terminalInput{s.terminal}, terminalOutput{s.terminal}
	return nil
}

// terminalInput writes to a terminal. Its Close does what a person does to end the input.
type terminalInput struct{ file *os.File }

func (t terminalInput) Write(data []byte) (int, error) { return t.file.Write(data) }

func (t terminalInput) Close() error {
	const endOfInput = 4 // Control-D
	_, err := t.file.Write([]byte{endOfInput})
	return err
}

// terminalOutput reads from a terminal. The end of the last process that has the terminal is its end.
type terminalOutput struct{ file *os.File }

func (t terminalOutput) Read(data []byte) (int, error) {
	n, err := t.file.Read(data)
	if errors.Is(err, syscall.EIO) {
		err = io.EOF
	}
	return n, err
}

func (t terminalOutput) Close() error { return t.file.Close() }

// HasTerminal reports whether the streams are those of a terminal.
func (s *Streams) HasTerminal() bool { return s.terminal != nil }

// Resize sets the size of the terminal. The kernel sends SIGWINCH to its foreground.
func (s *Streams) Resize(columns, rows uint16) error {
	conn, err := s.terminal.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = conn.Control(func(fd uintptr) {
		set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
	return errors.Join(err, set)
}

// Outputs returns the runner's ends of standard output and standard error. Of a terminal both are one,
// and the second is nil.
func (s *Streams) Outputs() (stdout, stderr *os.File) {
	if s.terminal != nil {
		return s.terminal, nil
	}
	stdout, _ = s.Stdout.(*os.File)
	stderr, _ = s.Stderr.(*os.File)
	return stdout, stderr
}

// CloseTheirs closes the command's ends. Further calls do nothing.
func (s *Streams) CloseTheirs() {
	for _, fd := range s.Theirs {
		_ = unix.Close(fd)
	}
	s.Theirs = nil
}

// Close closes all ends that are open. The end of a terminal hangs it up.
func (s *Streams) Close() error {
	s.CloseTheirs()
	if s.terminal != nil {
		return closed(s.terminal)
	}
	var errs []error
	for _, c := range []io.Closer{s.Stdin, s.Stdout, s.Stderr} {
		if c != nil {
			errs = append(errs, closed(c))
		}
	}
	return errors.Join(errs...)
}

func closed(c io.Closer) error {
	if err := c.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// TextFile returns a file in memory with a text.
func TextFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "command")
	if _, err := f.Write(text); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
