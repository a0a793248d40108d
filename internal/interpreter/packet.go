package interpreter

import (
	"bytes"
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

// packets is our end of a socket to a zygote or a slot: messages, each a packet, with
// file descriptors beside them: see zygote.py. Those processes run no foreign code,
// so what they say is believed.
type packets struct {
	conn *net.UnixConn
	in   []byte // what receive, which is called by one goroutine at a time, reads into
}

// maxPacket is the size of the largest message.
const maxPacket = 64 << 10

// message is what these processes say.
type message struct {
	Type string `json:"type"` // ok, failed, ready, dir
	// failed; dir has an error only
	Layer string `json:"layer"`
	Error string `json:"error"`
	// ready, of a zygote
	Version int      `json:"version"`
	Modules []string `json:"modules"`
	// end is set in a slot's report of a worker's end
	end *workerEnd
	// file is the descriptor that came with it
	file *os.File
}

// workerEnd is what a slot knows of a worker when nothing of it is left.
type workerEnd struct {
	of        int // the member of a family; -1 if it was alone, or is the last of one
	status    syscall.WaitStatus
	cpuMicros int64 // of all its processes together
	maxRSS    int64 // bytes, of the largest of its processes
	touched   bool  // it has used its file systems, which its slot keeps until it is told
	spent     bool  // its slot could not be made as new, and is not to be lent again
}

// LayerError tells which layer of the sandbox does not hold here, and why.
type LayerError struct {
	Layer  string // as in sandbox.Level.Layers
	Reason string
	// Held are the layers that were found to hold; nil if they are those before it in
	// sandbox.Level.Layers.
	Held []string
}

func (e *LayerError) Error() string {
	text := "sandbox: " + e.Layer + ": " + e.Reason
	if advice := sandbox.ThisHost().Advice(e.Layer, e.Reason); advice != "" {
		text += "; to change that, " + advice
	}
	return text
}

// failure is the error that a message tells of, if any.
func (m message) failure() error {
	switch {
	case m.Type != "failed":
		return nil
	case m.Layer != "":
		return blame(m.Layer, m.Error)
	}
	return blame("", m.Error)
}

// newPackets makes a pair: our end, and the one to be passed on and then closed.
func newPackets(name string) (packets, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return packets{}, nil, fmt.Errorf("make %s socket: %w", name, err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	conn, err := net.FileConn(ours) // a copy
	_ = ours.Close()
	if err != nil {
		return packets{}, nil, errors.Join(fmt.Errorf("make %s socket: %w", name, err), theirs.Close())
	}
	return packets{conn.(*net.UnixConn), make([]byte, maxPacket)}, theirs, nil //nolint:forcetypeassert // it is a Unix socket
}

// send writes one message as JSON.
func (p packets) send(v any, fds ...int) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return p.write(data, fds...)
}

// write sends one packet. It does not block: the buffer holds what is ever under way.
func (p packets) write(data []byte, fds ...int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := p.conn.WriteMsgUnix(data, rights, nil)
	return err
}

// receive reads one message, and the descriptor that came with it, if any.
func (p packets) receive() (message, *os.File, error) {
	var m message
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
		m.end, err = parseEnd(data[:n])
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

// parseEnd reads a worker's end, or a member's: "M number status µs KB".
func parseEnd(data []byte) (*workerEnd, error) {
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
	return &workerEnd{
		of: int(numbers[0]), status: syscall.WaitStatus(numbers[1]), //nolint:gosec // it is one
		cpuMicros: numbers[2], maxRSS: numbers[3] * 1024,
	}, nil
}

// parseReport reads slot.py's Report: a byte of kind, one each of touched and spent, one
// unused, the status, and the kernel's struct rusage.
func parseReport(data []byte) (*workerEnd, error) {
	const status, usage, size = 4, 8, 8 + 18*8
	if len(data) != size {
		return nil, fmt.Errorf("end of a worker: %d bytes", len(data))
	}
	field := func(i int) int64 {
		return int64(binary.NativeEndian.Uint64(data[usage+8*i:])) //nolint:gosec // as the kernel has it
	}
	const userSeconds, userMicros, systemSeconds, systemMicros, maxRSS = 0, 1, 2, 3, 4 // of struct rusage
	cpu := (field(userSeconds)+field(systemSeconds))*1e6 + field(userMicros) + field(systemMicros)
	return &workerEnd{
		of: -1, status: syscall.WaitStatus(binary.NativeEndian.Uint32(data[status:])), cpuMicros: cpu,
		maxRSS: field(maxRSS) * 1024, touched: data[1] != 0, spent: data[2] != 0,
	}, nil
}

func received(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil //nolint:nilnil // most messages come without
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

// ask sends a request for a child process and returns its pidfd.
func (p packets) ask(limit time.Duration, v any, fds ...int) (*os.File, error) {
	if err := p.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if err := p.send(v, fds...); err != nil {
		return nil, err
	}
	m, pidfd, err := p.receive()
	switch {
	case err != nil:
		return nil, err
	case m.failure() != nil:
		return nil, m.failure()
	case pidfd == nil:
		return nil, errors.New("no process came with the answer")
	}
	return pidfd, nil
}

func (p packets) close() { _ = p.conn.Close() }

// pidOf returns the number by which this process knows the process of a pidfd.
func pidOf(pidfd *os.File) (int, error) {
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

// ended waits until the process of a pidfd has ended, at most for limit.
func ended(pidfd *os.File, limit time.Duration) bool {
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
