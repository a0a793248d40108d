package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	// slowestBody is how many bytes a second of a body have to come, after its first
	// moments: who sends a byte now and then would hold his request for ever.
	slowestBody = 8 << 10
	// shortBody is what is read of a refused request before the answer, within
	// refusedBodyTime: then the connection can be used again.
	shortBody       = 256 << 10
	refusedBodyTime = time.Second
	// A client that sends all of its body before it reads sees a refusal only if what
	// it sends is taken: else the kernel answers with a reset, which drops the refusal.
	// So much time has it in all, and without sending anything.
	lingerTime  = 10 * time.Second
	lingerPause = 2 * time.Second
	// lingerers is how many such clients there may be at once.
	lingerers = 64
)

// incoming is the body of a request as it comes, and the writer of its answer. Until
// the body is at its end the connection cannot be used for another request, so the
// answer is to close it; that is known only when the answer is made. So an answer before
// the end of the body is collected: it is a refusal, and short.
type incoming struct {
	gin.ResponseWriter
	body     io.ReadCloser
	control  *http.ResponseController
	length   int64 // -1 if it is not known
	expects  bool  // the client waits for 100 Continue before it sends
	patience time.Duration

	began  time.Time
	read   int64
	ended  bool
	failed bool // nothing more comes

	early  bool // the answer came before the end of the body
	answer bytes.Buffer
}

// received watches over bodies: over their time, and over what is left of them when a
// request has been answered. Of that it takes most bytes.
func received(patience time.Duration, most int64) gin.HandlerFunc {
	room := make(chan struct{}, lingerers)
	return func(c *gin.Context) {
		if c.Request.Body == nil || c.Request.Body == http.NoBody {
			return
		}
		in := &incoming{
			ResponseWriter: c.Writer, body: c.Request.Body, control: http.NewResponseController(c.Writer), length: c.Request.ContentLength,
			expects: c.GetHeader("Expect") != "", patience: patience, began: time.Now(),
		}
		// Else net/http reads up to 256 KiB of a body before it sends an answer, without a
		// deadline. Recorders in tests cannot do this; a real connection always can.
		_ = in.control.EnableFullDuplex()
		c.Writer.Header().Set("Connection", "close")
		c.Request.Body, c.Writer = in, in
		c.Next()
		c.Writer = in.ResponseWriter
		in.finish(most, room)
	}
}

// Read has a deadline that follows what has come. A deadline that stayed would pass while
// a handler runs, and net/http would take that for a caller who went away; for the same
// reason the server has no ReadTimeout.
func (in *incoming) Read(p []byte) (int, error) {
	_ = in.control.SetReadDeadline(in.due())
	n, err := in.take(p)
	in.failed = in.failed || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

// due is when the next bytes have to be there.
func (in *incoming) due() time.Time {
	steady := in.began.Add(in.patience + time.Duration(in.read)*(time.Second/slowestBody))
	if next := time.Now().Add(in.patience); next.Before(steady) {
		return next
	}
	return steady
}

func (in *incoming) take(p []byte) (int, error) {
	n, err := in.body.Read(p)
	in.read += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		in.ended = true
		_ = in.control.SetReadDeadline(time.Time{})
		if !in.Written() {
			in.Header().Del("Connection")
		}
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		in.failed = true
	}
	return n, err
}

// Close closes nothing: what is left of the body is finish's to read.
func (in *incoming) Close() error { return nil }

// Unwrap is for http.ResponseController.
func (in *incoming) Unwrap() http.ResponseWriter { return in.ResponseWriter }

func (in *incoming) Write(p []byte) (int, error) {
	if in.isEarly() {
		return in.answer.Write(p)
	}
	return in.ResponseWriter.Write(p)
}

func (in *incoming) WriteString(s string) (int, error) {
	if in.isEarly() {
		return in.answer.WriteString(s)
	}
	return in.ResponseWriter.WriteString(s)
}

// isEarly decides with the first byte of an answer whether it is collected.
func (in *incoming) isEarly() bool {
	in.early = in.early || !in.ended && !in.Written()
	return in.early
}

// WriteHeaderNow is what gin calls before the first byte, and after answers without any.
func (in *incoming) WriteHeaderNow() {
	if !in.isEarly() {
		in.ResponseWriter.WriteHeaderNow()
	}
}

// Flush sends nothing of an answer that is collected.
func (in *incoming) Flush() {
	if !in.isEarly() {
		in.ResponseWriter.Flush()
	}
}

// finish sends an answer that came before the end of the body, and takes what is left of
// that, within bounds.
func (in *incoming) finish(most int64, room chan struct{}) {
	if in.ended && !in.early {
		return
	}
	over := time.Now().Add(lingerTime)
	if !in.expects && in.length >= 0 && in.length <= shortBody {
		in.discard(shortBody, time.Now().Add(refusedBodyTime))
	}
	in.early = true
	in.Header().Set("Content-Length", strconv.Itoa(in.answer.Len()))
	if _, err := in.ResponseWriter.Write(in.answer.Bytes()); err != nil {
		in.failed = true
	}
	in.ResponseWriter.Flush()
	// A client that waits for 100 Continue has its answer, and sends nothing.
	if !in.ended && !in.failed && !in.expects {
		select {
		case room <- struct{}{}:
			in.discard(most, over)
			<-room
		default:
		}
	}
	if !in.ended { // nor does net/http wait for the rest
		_ = in.control.SetReadDeadline(time.Now())
	}
}

// discard reads up to most bytes of what is left, until a time or until nothing comes.
func (in *incoming) discard(most int64, over time.Time) {
	piece := make([]byte, 32<<10)
	for !in.ended && most > 0 {
		due := over
		if next := time.Now().Add(lingerPause); next.Before(due) {
			due = next
		}
		_ = in.control.SetReadDeadline(due)
		n, err := in.take(piece)
		if most -= int64(n); err != nil {
			return
		}
	}
}
