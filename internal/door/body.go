package door

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/service"
)

// buffered reads the whole body first, bounded in size and time, and refuses what
// is not UTF-8, which encoding/json would silently change. A body that is streamed is left to
// its handler, within the same bounds of time.
func (in *entrance) buffered(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	coming, ok := r.Body.(*incoming)
	if !ok {
		next(w, r) // there is none
		return
	}
	kind, most := in.dialect.Body(r), in.cfg.MaxBodyBytes
	streamed := kind == service.BodyStreamed || kind == service.BodyLong || kind == service.BodyFile || kind == service.BodyPassed
	takesGzip := kind != service.BodyStreamed && kind != service.BodyText && kind != service.BodyBinary
	packed := slices.ContainsFunc(r.Header.Values("Content-Encoding"), changesBody)
	if packed && kind != service.BodyPassed && (!takesGzip || !isGzip(r)) {
		in.refuse(w, r, &service.BodyError{Fault: service.BodyEncoded, Gzip: takesGzip})
		return
	}
	switch kind {
	case service.BodyStreamed, service.BodyFile, service.BodyPassed:
		most = in.cfg.MaxFileBytes
	case service.BodyLong:
		most = in.cfg.MaxLongBytes
	case service.BodyText, service.BodyBinary, service.BodyTextPacked, service.BodyBinaryPacked:
	}
	service.CallOf(r.Context()).BodyLimit = most
	if coming.length > most {
		in.refuse(w, r, &service.BodyError{Fault: service.BodyTooLarge, Limit: most})
		return
	}
	limited := &bounded{http.MaxBytesReader(w, coming, most), in}
	if streamed {
		r = r.WithContext(r.Context())
		r.Body = limited
		coming.passes = kind == service.BodyPassed
		next(w, r)
		return
	}
	held := in.cfg.Service.HoldBody(service.CallerOf(r.Context()))
	defer held.Release()
	var from io.Reader = limited
	if packed {
		from = &unpacked{r: limited, left: most, most: most}
	}
	whole, err := io.ReadAll(held.Reader(from))
	if err == nil && (kind == service.BodyText || kind == service.BodyTextPacked) && !utf8.Valid(whole) {
		err = &service.BodyError{Fault: service.BodyNotText, Offset: firstInvalid(whole)}
	}
	if err == nil {
		err = r.Context().Err() // the caller has disconnected
	}
	if err != nil {
		in.refuse(w, r, err)
		return
	}
	var text bytes.Reader
	text.Reset(whole)
	// The text is not needed once the job is recorded, and callers may wait for an hour after that.
	service.CallOf(r.Context()).OnRecorded(func() {
		held.Release()
		text.Reset(nil)
	})
	r = r.WithContext(r.Context())
	r.Body = io.NopCloser(&text)
	if packed { // what follows reads it unpacked
		r.ContentLength, r.Header = int64(len(whole)), r.Header.Clone()
		r.Header.Del("Content-Encoding")
		r.Header.Set("Content-Length", strconv.Itoa(len(whole)))
	}
	next(w, r)
}

// unpacked is a body that is compressed by gzip, with a bound of its size when it is unpacked.
type unpacked struct {
	r          io.Reader
	z          *gzip.Reader
	left, most int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	var err error
	if u.z == nil {
		u.z, err = gzip.NewReader(u.r)
	}
	n := 0
	if err == nil {
		n, err = u.z.Read(p)
	}
	if u.left -= int64(n); u.left < 0 {
		return 0, &service.BodyError{Fault: service.BodyTooLarge, Limit: u.most}
	}
	_, known := errors.AsType[*service.BodyError](err)
	if err != nil && !errors.Is(err, io.EOF) && !known || errors.Is(err, io.EOF) && u.z == nil {
		err = &service.BodyError{Fault: service.BodyNotGzip}
	}
	return n, err
}

func changesBody(coding string) bool { return coding != "" && !strings.EqualFold(coding, "identity") }

// isGzip reports whether a body is compressed by gzip, once.
func isGzip(r *http.Request) bool {
	all := r.Header.Values("Content-Encoding")
	return len(all) == 1 && (strings.EqualFold(all[0], "gzip") || strings.EqualFold(all[0], "x-gzip"))
}

// bounded words why a body cannot be read to its end.
type bounded struct {
	io.ReadCloser
	in *entrance
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, &service.BodyError{Fault: service.BodyTooLarge, Limit: large.Limit}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, &service.BodyError{Fault: service.BodySlow, Pause: b.in.cfg.BodyTimeout, BytesPerSecond: service.SlowestBody}
	}
	return n, &service.BodyError{Fault: service.BodyCut}
}

func firstInvalid(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(b)
}
