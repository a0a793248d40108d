package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// windowOf returns the size of a terminal; nil if f is none.
func windowOf(f *os.File) (w *unix.Winsize) {
	control(f, func(fd int) {
		if got, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			w = got
		}
	})
	return w
}

// rawMode has a terminal pass on each key as it is pressed, and print nothing by itself, until restore is called. It does nothing
// if f is no terminal.
func rawMode(f *os.File) (restore func()) {
	return change(f, func(settings *unix.Termios) {
		settings.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		settings.Oflag &^= unix.OPOST
		settings.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		settings.Cflag = settings.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		settings.Cc[unix.VMIN], settings.Cc[unix.VTIME] = 1, 0
	})
}

// hideKeys has a terminal print no keys until restore is called.
func hideKeys(f *os.File) (restore func()) {
	return change(f, func(settings *unix.Termios) { settings.Lflag &^= unix.ECHO })
}

// KeepTerminal notes the settings of a terminal, and returns what sets them again.
func KeepTerminal(f *os.File) (restore func()) { return change(f, func(*unix.Termios) {}) }

// change changes the settings of a terminal until restore is called.
func change(f *os.File, how func(settings *unix.Termios)) (restore func()) {
	var before *unix.Termios
	control(f, func(fd int) {
		settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return
		}
		old := *settings
		if how(settings); unix.IoctlSetTermios(fd, unix.TCSETS, settings) == nil {
			before = &old
		}
	})
	return func() {
		if before != nil {
			control(f, func(fd int) { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) })
		}
	}
}

// control calls do with the descriptor of f, which stays in the mode in which it is.
func control(f *os.File, do func(fd int)) {
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { do(int(fd)) })
	}
}
