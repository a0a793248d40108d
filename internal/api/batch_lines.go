package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/kaa-run/kaa/internal/service"
)

// lines reads the lines of a batch as they come. It holds one of them.
type lines struct {
	in       *bufio.Reader
	mostLine int
	hash     hash.Hash // of all bytes
	number   int64     // of the last line
	bytes    int64
	line     []byte // without its end
	tooLong  bool   // the last line is longer than it may be, and line has the beginning
	torn     bool   // reading has failed within a line of which a part is in the hash
	unread   bool   // the last line is returned once more
}

// errGzip: the body is not what gzip writes.
var errGzip = badRequest("the body is not valid gzip data, or ends early; send it without Content-Encoding, or compress it again")

// newLines returns the lines of a body, which is unpacked if it is compressed by gzip, whether its header says so or
// not: a file of JSON does not begin as one of gzip.
func newLines(body io.Reader, most int64, mostLine int) (*lines, error) {
	in := bufio.NewReaderSize(body, 64<<10)
	start, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err //nolint:wrapcheck // the door words it
	}
	if bytes.Equal(start, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, gzipError(err)
		}
		body = gunzip{unpacked}
	} else {
		body = in
	}
	in = bufio.NewReaderSize(&inflated{body, most, most}, 64<<10)
	return &lines{in: in, mostLine: mostLine, hash: sha256.New()}, nil
}

// gunzip words errors of gzip.
type gunzip struct{ r io.Reader }

func (g gunzip) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = gzipError(err)
	}
	return n, err //nolint:wrapcheck // io.Reader
}

// gzipError distinguishes a body that did not come from one that is damaged.
func gzipError(err error) error {
	if _, ok := errors.AsType[*service.BodyError](err); ok {
		return err
	}
	return errGzip
}

// inflated is a body, with a bound of its size when it is unpacked.
type inflated struct {
	r          io.Reader
	left, most int64
}

func (b *inflated) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &service.BodyError{Fault: service.BodyTooLarge, Limit: b.most}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err //nolint:wrapcheck // io.Reader
}

// next reads a line. io.EOF: there is none.
func (l *lines) next() error {
	if l.unread {
		l.unread = false
		return nil
	}
	l.line, l.tooLong = l.line[:0], false
	some := false
	for {
		piece, err := l.in.ReadSlice('\n')
		if len(piece) > 0 {
			some = true
			l.take(piece)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && some, err == nil:
			l.number++
			if !l.tooLong {
				l.count(l.line)
			}
			l.torn = false
			l.line = bytes.TrimRight(l.line, "\r\n")
			if l.number == 1 {
				l.line = bytes.TrimPrefix(l.line, []byte("\ufeff"))
			}
			return nil
		case errors.Is(err, errGzip):
			return ofLine(err, l.number+1)
		}
		return err //nolint:wrapcheck // the door words it
	}
}

// take adds a piece to the line. A line counts when it is there, unless it is too long to be held.
func (l *lines) take(piece []byte) {
	if !l.tooLong && len(l.line)+len(piece) <= l.mostLine+2 { // with an end of two bytes
		l.line = append(l.line, piece...)
		return
	}
	if !l.tooLong {
		l.tooLong, l.torn = true, true
		l.count(l.line)
	}
	l.count(piece)
}

func (l *lines) count(text []byte) {
	l.hash.Write(text)
	l.bytes += int64(len(text))
}

// blank reports whether the line has nothing.
func (l *lines) blank() bool { return !l.tooLong && len(bytes.TrimSpace(l.line)) == 0 }

// sum returns the state of the hash of all that was read.
func (l *lines) sum() ([]byte, error) {
	state, err := l.hash.(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // sha256 is one
	if err != nil {
		return nil, fmt.Errorf("save the hash of a batch: %w", err)
	}
	return state, nil
}

// goOn makes what is read follow an earlier part of the same input.
func (l *lines) goOn(number, size int64, sum []byte) error {
	l.number, l.bytes = number, size
	if err := l.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(sum); err != nil { //nolint:forcetypeassert // as above
		return fmt.Errorf("go on with the hash of a batch: %w", err)
	}
	return nil
}
