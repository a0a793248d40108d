package door

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
)

// answer is the writer of an answer that knows what was written.
type answer struct {
	http.ResponseWriter
	status int // 0 until the header is written
	size   int // bytes of the body
}

// Written reports whether the header is written.
func (a *answer) Written() bool { return a.status != 0 }

func (a *answer) WriteHeader(status int) {
	// Others of the 1xx come before the answer.
	if a.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) begin() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.begin()
	n, err := a.ResponseWriter.Write(p)
	a.size += n
	return n, err //nolint:wrapcheck // of the connection
}

// WriteString is for io.WriteString.
func (a *answer) WriteString(s string) (int, error) {
	a.begin()
	n, err := io.WriteString(a.ResponseWriter, s)
	a.size += n
	return n, err //nolint:wrapcheck // of the connection
}

// Flush sends what is buffered. Writers that cannot are in tests only.
func (a *answer) Flush() {
	a.begin()
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// Hijack is for WebSockets.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection: %w", err)
	}
	return conn, buffered, nil
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
