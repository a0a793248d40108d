package process

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// Link is the runner's end of a socket to a zygote or a slot. Each message is a packet, with
// file descriptors beside it: see zygote.py. Zygotes and slots run no foreign code, so Link
// trusts their messages.
type Link struct {
	conn *net.UnixConn
	in   []byte // the buffer of Receive, which one goroutine at a time calls
}

// ErrNoAnswer is the error of a request without an answer, or with one that cannot be read. The
// answer may still come, so that the next request would get it. So the link is of no more use.
var ErrNoAnswer = errors.New("no answer")

// writeTime is the time limit of a Write. Only a process that does not read at all exceeds it.
const writeTime = time.Second

// maxPacket is the size of the largest message.
const maxPacket = 64 << 10

// Message is a message from a zygote or a slot. The comments name the types of messages that use
// the fields below them.
type Message struct {
	Type string `json:"type"` // ok, failed, ready, dir; started, refused, socket, ended, killed, signalled
	// failed, and dir, which has only Error
	Layer string `json:"layer"`
	Error string `json:"error"`
	// ready, of a zygote
	Version int      `json:"version"`
	Modules []string `json:"modules"`
	// started, refused, socket, ended, killed, signalled: messages about the command with this number, see
	// commands.py
	ID        int   `json:"id"`
	PID       int   `json:"pid"`    // in the sandbox
	Phase     int   `json:"phase"`  // that failed
	Errno     int   `json:"errno"`  // why
	Status    int   `json:"status"` // as of wait(2)
	CPUMicros int64 `json:"cpu"`
	MaxRSSKB  int64 `json:"rss"`
	// End is set in a slot's report of a worker's end.
	End *WorkerEnd `json:"-"`
	// File is the descriptor that came with the message.
	File *os.File `json:"-"`
}

// WorkerEnd is a slot's report of a worker whose processes have all ended.
type WorkerEnd struct {
	Member    int // the number in a fork group; -1 for a single worker, or the last of a group
	Status    syscall.WaitStatus
	CPUMicros int64 // the sum over the worker's processes
	MaxRSS    int64 // bytes, of the largest of the worker's processes
	Touched   bool  // the worker used its file systems; the slot keeps them until the runner clears them
	Spent     bool  // the slot could not be cleaned, so the pool must not hand it out again
}

// LayerError names a layer of the sandbox that does not hold on this machine, and the reason.
type LayerError struct {
	Layer  string // as in sandbox.Level.Layers
	Reason string
	// Held are the layers that were found to hold. If it is nil, all layers before this one in
	// sandbox.Level.Layers hold.
	Held []string
}

func (e *LayerError) Error() string {
	text := "sandbox: " + e.Layer + ": " + e.Reason
	if advice := sandbox.ThisHost().Advice(e.Layer, e.Reason); advice != "" {
		text += "; to change that, " + advice
	}
	return text
}

// Failure returns the error that a message reports; nil if it reports none.
func (m Message) Failure() error {
	switch {
	case m.Type != "failed":
		return nil
	case m.Layer != "":
		return blame(m.Layer, m.Error)
	}
	return blame("", m.Error)
}

// NewLink makes a socket pair. It returns the runner's end, and the other end, which the caller
// passes on to the new process and then closes.
func NewLink(name string) (Link, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Link{}, nil, fmt.Errorf("make %s socket: %w", name, err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	conn, err := net.FileConn(ours) // duplicates the descriptor
	_ = ours.Close()
	if err != nil {
		return Link{}, nil, errors.Join(fmt.Errorf("make %s socket: %w", name, err), theirs.Close())
	}
	return Link{conn.(*net.UnixConn), make([]byte, maxPacket)}, theirs, nil //nolint:forcetypeassert // it is a Unix socket
}

// Send writes one message as JSON.
func (p Link) Send(v any, fds ...int) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return p.Write(data, fds...)
}

// SendText writes one message as JSON, with a text behind it after a zero.
func (p Link) SendText(v any, text []byte, fds ...int) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return p.Write(append(append(data, 0), text...), fds...)
}

// Write sends one packet. Usually it does not block, because the socket's buffer has room for more
// messages than are on their way at once.
func (p Link) Write(data []byte, fds ...int) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := p.conn.WriteMsgUnix(data, rights, nil)
	return err
}

// Receive reads one message and the descriptor that came with it; nil if none came.
func (p Link) Receive() (Message, *os.File, error) {
	var m Message
	data, rights := p.in, make([]byte, unix.CmsgSpace(4))
	n, nr, _, _, err := p.conn.ReadMsgUnix(data, rights)
	if err != nil {
		return m, nil, err
	}
	if n == 0 {
		return m, nil, net.ErrClosed
	}
	file, err := received(rights[:nr])
	if err != nil {
		return m, nil, err
	}
	if data[0] == 'E' || data[0] == 'M' {
		m.End, err = parseEnd(data[:n])
	} else {
		err = json.Unmarshal(data[:n], &m)
	}
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return m, nil, fmt.Errorf("decode: %w", err)
	}
	return m, file, nil
}

// parseEnd parses the report of a worker's end, or of a fork group's member: "M number status µs
// KB".
func parseEnd(data []byte) (*WorkerEnd, error) {
	if data[0] == 'E' {
		return parseReport(data)
	}
	var numbers []int64
	for field := range bytes.FieldsSeq(data[1:]) {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("end of a member: %w", err)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) != 4 || numbers[0] < 0 {
		return nil, fmt.Errorf("end of a member: %v", numbers)
	}
	return &WorkerEnd{
		Member: int(numbers[0]), Status: syscall.WaitStatus(numbers[1]), //nolint:gosec // it is one
		CPUMicros: numbers[2], MaxRSS: numbers[3] * 1024,
	}, nil
}

// parseReport parses Report of slot_program.py: a byte for the kind, one for touched, one for spent, one
// unused, the status, and the kernel's struct rusage.
func parseReport(data []byte) (*WorkerEnd, error) {
	const status, usage, size = 4, 8, 8 + 18*8
	if len(data) != size {
		return nil, fmt.Errorf("end of a worker: %d bytes", len(data))
	}
	field := func(i int) int64 {
		return int64(binary.NativeEndian.Uint64(data[usage+8*i:])) //nolint:gosec // as the kernel has it
	}
	const userSeconds, userMicros, systemSeconds, systemMicros, maxRSS = 0, 1, 2, 3, 4 // of struct rusage
	cpu := (field(userSeconds)+field(systemSeconds))*1e6 + field(userMicros) + field(systemMicros)
	return &WorkerEnd{
		Member: -1, Status: syscall.WaitStatus(binary.NativeEndian.Uint32(data[status:])), CPUMicros: cpu,
		MaxRSS: field(maxRSS) * 1024, Touched: data[1] != 0, Spent: data[2] != 0,
	}, nil
}

func received(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil //nolint:nilnil // most messages have no descriptor
	}
	control, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(control) != 1 {
		return nil, fmt.Errorf("receive descriptor: %w", err)
	}
	fds, err := unix.ParseUnixRights(&control[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive descriptor: %w", err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "received"), nil
}

// Ask sends a request for a child process and returns its pidfd. After ErrNoAnswer the link is of no
// more use.
func (p Link) Ask(ctx context.Context, limit time.Duration, v any, fds ...int) (*os.File, error) {
	if err := p.Send(v, fds...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	m, pidfd, err := p.ReceiveWithin(ctx, limit)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case m.Failure() != nil:
		return nil, m.Failure()
	case pidfd == nil:
		return nil, errors.New("no process came with the answer")
	}
	return pidfd, nil
}

// ReceiveWithin is Receive with a time limit. The end of ctx ends it too.
func (p Link) ReceiveWithin(ctx context.Context, limit time.Duration) (Message, *os.File, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return Message{}, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)) })
	m, file, err := p.Receive()
	if !stop() && err == nil {
		err = ctx.Err() // the deadline in the past stays
	}
	if err == nil {
		err = p.conn.SetReadDeadline(time.Time{})
	}
	return m, file, err
}

// Close closes the runner's end.
func (p Link) Close() { _ = p.conn.Close() }

// PIDOf returns the process id of a pidfd's process in this process's pid namespace.
func PIDOf(pidfd *os.File) (int, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	if err != nil {
		return 0, fmt.Errorf("find pid: %w", err)
	}
	var pid int
	if _, err := fmt.Sscanf(afterLabel(info, "Pid:"), "%d", &pid); err != nil || pid <= 0 {
		return 0, errors.New("find pid: the process has ended")
	}
	return pid, nil
}

// Ended waits until the process of a pidfd has ended, at most for limit.
func Ended(pidfd *os.File, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, int(left.Milliseconds())) //nolint:gosec // a descriptor fits
		if n > 0 {
			return true
		}
		if !errors.Is(err, unix.EINTR) && left == 0 {
			return false
		}
	}
}
