package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// Values of the setting of the audit log. Others are the path of a file.
const (
	AuditOff = "off"
	AuditLog = "log"
)

const (
	// auditQueue is the number of lines that may wait for the file. A file system that hangs holds up no call.
	auditQueue = 4096
	// auditComplaint is the time between two errors in the log about the file.
	auditComplaint = 10 * time.Second
	// auditMode lets only the process's user read the file.
	auditMode = 0o600
)

var errNoFile = errors.New("neither a file nor a terminal")

// NewAudit returns the audit log that a setting describes; nil if there is none. It is among the lines of w, in
// one of the formats, whatever the level of log; or in a file, as JSON. A line that the file does not take goes to log,
// with an error. Call end when nothing writes to it any more.
func NewAudit(where string, w io.Writer, form string, log *slog.Logger) (audit *slog.Logger, end func(), err error) {
	switch where {
	case AuditOff, "":
		return nil, func() {}, nil
	case AuditLog:
		return NewLog(w, slog.LevelInfo, form), func() {}, nil
	}
	f := &auditFile{path: where, log: log, lines: make(chan []byte, auditQueue), done: make(chan struct{})}
	if err := f.open(); err != nil {
		return nil, nil, err
	}
	go f.write()
	return NewLog(f, slog.LevelInfo, LogJSON), f.close, nil
}

// auditFile is a writer of lines to a file, one line a call. Log rotation may rename or remove the file, or truncate it.
type auditFile struct {
	path  string
	log   *slog.Logger
	lines chan []byte
	done  chan struct{}

	mu     sync.Mutex // of closed, and of sending to lines
	closed bool

	// Only the goroutine that writes uses these.
	file       *os.File
	torn       bool // the last line is there in part
	complained time.Time
}

// Write passes a line on. It never blocks and never fails: a line that finds no place goes to the log.
func (f *auditFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		select {
		case f.lines <- append([]byte(nil), line...):
			return len(line), nil
		default:
		}
	}
	f.lost(line)
	return len(line), nil
}

// lost writes a line to the log in place of the file.
func (f *auditFile) lost(line []byte) {
	f.log.Error("audit", slog.String("not_in_file", string(line)))
}

func (f *auditFile) close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.lines)
	}
	f.mu.Unlock()
	select {
	case <-f.done:
	case <-time.After(2 * time.Second):
		f.log.Error("the audit log does not take its last lines in time", slog.String("file", f.path))
	}
}

// write writes lines until the end.
func (f *auditFile) write() {
	defer close(f.done)
	for line := range f.lines {
		if err := f.append(line); err != nil {
			if time.Since(f.complained) >= auditComplaint {
				f.complained = time.Now()
				f.log.Error("the audit log cannot be written; its lines go to this log until it can", slog.String("file", f.path), slog.Any("err", err))
			}
			f.lost(line)
		}
	}
	if f.file != nil {
		_ = f.file.Close()
	}
}

// append writes a line to the file of that name, which may be another than at the line before.
func (f *auditFile) append(line []byte) error {
	if f.moved() {
		if err := f.open(); err != nil {
			return err
		}
	}
	text := line
	if f.torn {
		text = append([]byte("\n"), line...)
	}
	n, err := f.file.Write(text)
	if n > 0 {
		f.torn = n < len(text)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// moved reports whether there is another file of that name, or none.
func (f *auditFile) moved() bool {
	if f.file == nil {
		return true
	}
	there, err := os.Stat(f.path)
	if err != nil {
		return true
	}
	own, err := f.file.Stat()
	return err != nil || !os.SameFile(there, own)
}

// open opens the file, and makes it if there is none. It waits for no reader of a pipe, and refuses pipes.
func (f *auditFile) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, auditMode)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		_ = file.Close()
		return errors.Join(fmt.Errorf("open %s: %w", f.path, errNoFile), err)
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.torn = file, false
	return nil
}
