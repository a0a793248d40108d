package door

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

const (
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
	*answer
	body    io.ReadCloser
	control *http.ResponseController
	length  int64 // -1 if it is not known
	expects bool  // the client waits for 100 Continue, which the first read sends

	pace   service.Pace
	ended  atomic.Bool
	failed bool // nothing more comes

	// passes: the answer goes out as it is made, also before the end of the body, which another goroutine may read then.
	passes  bool
	reading sync.Mutex  // held by Read; guards expects, pace and failed
	over    atomic.Bool // nothing reads any more but finish

	early       bool // the answer came before the end of the body
	earlyStatus int
	collected   bytes.Buffer
}

// received watches over bodies: over their time, and over what is left of them when a
// request has been answered.
func (in *entrance) received(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	out, ok := w.(*answer)
	if r.Body == nil || r.Body == http.NoBody || !ok {
		next(w, r)
		return
	}
	coming := &incoming{
		answer: out, body: r.Body, control: http.NewResponseController(w), length: r.ContentLength,
		expects: r.Header.Get("Expect") != "", pace: service.Pace{Began: time.Now(), Patience: in.cfg.BodyTimeout},
	}
	// Else net/http reads up to 256 KiB of a body before it sends an answer, without a
	// deadline. Recorders in tests cannot do this; a real connection always can.
	_ = coming.control.EnableFullDuplex()
	w.Header().Set("Connection", "close")
	r.Body = coming // r is this request's own, by observed
	next(coming, r)
	coming.finish(2*max(in.cfg.MaxBodyBytes, in.cfg.MaxFileBytes), in.lingers)
}

// Read has a deadline that follows what has come. A deadline that stayed would pass while
// a handler runs, and net/http would take that for a caller who went away; for the same
// reason the server has no ReadTimeout.
func (in *incoming) Read(p []byte) (int, error) {
	in.reading.Lock()
	defer in.reading.Unlock()
	if in.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	in.expects = false
	_ = in.control.SetReadDeadline(in.pace.Due())
	if in.over.Load() { // since then, so finish may have set its deadline before
		_ = in.control.SetReadDeadline(time.Now())
	}
	n, err := in.take(p)
	in.failed = in.failed || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

func (in *incoming) take(p []byte) (int, error) {
	n, err := in.body.Read(p)
	in.pace.Read += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		in.ended.Store(true)
		_ = in.control.SetReadDeadline(time.Time{})
		if !in.passes && !in.answer.Written() {
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
func (in *incoming) Unwrap() http.ResponseWriter { return in.answer }

// Written reports whether there is an answer.
func (in *incoming) Written() bool { return in.earlyStatus != 0 || in.answer.Written() }

// WriteHeader keeps the status of an answer that is collected.
func (in *incoming) WriteHeader(status int) {
	switch {
	case !in.isEarly():
		if in.passes && in.ended.Load() {
			in.Header().Del("Connection")
		}
		in.answer.WriteHeader(status)
	case in.earlyStatus == 0:
		in.earlyStatus = status
	}
}

func (in *incoming) Write(p []byte) (int, error) {
	if in.isEarly() {
		return in.collected.Write(p)
	}
	return in.answer.Write(p)
}

// WriteString is for io.WriteString.
func (in *incoming) WriteString(s string) (int, error) {
	if in.isEarly() {
		return in.collected.WriteString(s)
	}
	return in.answer.WriteString(s)
}

// isEarly decides with the header of an answer whether it is collected.
func (in *incoming) isEarly() bool {
	in.early = in.early || !in.passes && !in.ended.Load() && !in.answer.Written()
	return in.early
}

// Flush sends nothing of an answer that is collected.
func (in *incoming) Flush() {
	if !in.isEarly() {
		in.answer.Flush()
	}
}

// finish sends an answer that came before the end of the body, and takes what is left of
// that, within bounds.
func (in *incoming) finish(most int64, room chan struct{}) {
	if in.ended.Load() && !in.early {
		return
	}
	in.over.Store(true)
	if in.passes { // a read that is under way ends now
		_ = in.control.SetReadDeadline(time.Now())
	}
	in.reading.Lock()
	defer in.reading.Unlock()
	over := time.Now().Add(lingerTime)
	if in.early || !in.answer.Written() {
		in.sendCollected()
	} else {
		in.answer.Flush()
	}
	// A client that waits for 100 Continue has its answer, and sends nothing.
	if !in.ended.Load() && !in.failed && !in.expects {
		select {
		case room <- struct{}{}:
			in.discard(most, over)
			<-room
		default:
		}
	}
	if !in.ended.Load() { // nor does net/http wait for the rest
		_ = in.control.SetReadDeadline(time.Now())
	}
}

// sendCollected sends an answer that came before the end of the body.
func (in *incoming) sendCollected() {
	if !in.expects && in.length >= 0 && in.length <= shortBody {
		in.discard(shortBody, time.Now().Add(refusedBodyTime))
	}
	in.early = true
	in.Header().Set("Content-Length", strconv.Itoa(in.collected.Len()))
	in.answer.WriteHeader(max(in.earlyStatus, http.StatusOK))
	if _, err := in.answer.Write(in.collected.Bytes()); err != nil {
		in.failed = true
	}
	in.answer.Flush()
}

// discard reads up to most bytes of the rest, until a time or until nothing comes.
func (in *incoming) discard(most int64, over time.Time) {
	piece := make([]byte, 32<<10)
	for !in.ended.Load() && most > 0 {
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
