package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// recorder is what a cutter passes on: text as it is, and marks as "<number/meet>".
type recorder struct{ b bytes.Buffer }

func (r *recorder) cutter(prefix string) cutter {
	return cutter{
		prefix: []byte(prefix),
		text:   func(p []byte) { r.b.Write(p) },
		mark:   func(number int64, meet int) { fmt.Fprintf(&r.b, "<%d/%d>", number, meet) },
	}
}

// FuzzCutter: however a stream comes in pieces, and whatever the code writes between the
// marks, all of it is passed on once, in its order, and no mark is.
func FuzzCutter(f *testing.F) {
	prefix := newMarkPrefix()
	f.Add([]byte("one\ntwo"), uint16(3), uint16(80))
	f.Add([]byte(prefix), uint16(7), uint16(90))
	f.Add([]byte(prefix+"0000000g1\n"+prefix[:20]), uint16(1), uint16(100))
	f.Add([]byte(strings.Repeat("\x00", 300)), uint16(64), uint16(128))
	f.Fuzz(func(t *testing.T, text []byte, at, room uint16) {
		// The code does not know the prefix of this execution: what it writes has another one.
		prefix := newMarkPrefix()
		var in, want bytes.Buffer
		number := 0
		for i := 0; ; i += int(at) + 1 {
			end := min(i+int(at)+1, len(text))
			in.Write(text[i:end])
			want.Write(text[i:end])
			number++
			fmt.Fprintf(&in, "%s%08x%d\n", prefix, number, 1+number%meetAll)
			fmt.Fprintf(&want, "<%d/%d>", number, 1+number%meetAll)
			if end == len(text) {
				break
			}
		}
		var got recorder
		c := got.cutter(prefix)
		buf := make([]byte, int(room)+2*(len(prefix)+markTail))
		rest, stream := 0, in.Bytes()
		for len(stream) > 0 {
			n := copy(buf[rest:], stream)
			if n == 0 {
				t.Fatal("no room is left: the rest does not get less")
			}
			stream = stream[n:]
			size := rest + n
			rest = c.cut(buf[:size], size == len(buf))
			copy(buf, buf[size-rest:size])
		}
		c.pass(buf[:rest])
		if !bytes.Equal(got.b.Bytes(), want.Bytes()) {
			t.Errorf("%q, want %q", got.b.Bytes(), want.Bytes())
		}
	})
}

// The end of an execution may come when the beginning of a mark has been read and its end has
// not: drain reads the two as one.
func TestDrainOfHalfAMark(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ first, second, want string }{
		"a mark":          {"text%s0000", "00011\nmore", "text<1/1>more"},
		"the rest is all": {"text%s0000", "", "text%s0000"},
		"no mark":         {"text%s0000", "!", "text%s0000!"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ours.Close(); _ = theirs.Close() }()
			if err := unix.SetNonblock(int(ours.Fd()), true); err != nil {
				t.Fatal(err)
			}
			s := &Streams{meeting: newMeeting(), Prefix: newMarkPrefix()}
			var got recorder
			p := s.newPump(meetStdout, ours, io.Discard)
			p.cutter = got.cutter(s.Prefix)
			first := strings.ReplaceAll(tt.first, "%s", s.Prefix)
			p.buf = make([]byte, len(first)) // so that there is no room for more
			p.took(copy(p.buf, first))
			s.draining.Store(true)
			p.stop(os.ErrDeadlineExceeded)
			if _, err := theirs.WriteString(tt.second); err != nil {
				t.Fatal(err)
			}
			p.drain()
			if want := strings.ReplaceAll(tt.want, "%s", s.Prefix); got.b.String() != want {
				t.Errorf("%q, want %q", got.b.String(), want)
			}
		})
	}
	t.Run("nobody drains", func(t *testing.T) {
		t.Parallel()
		s := &Streams{meeting: newMeeting(), Prefix: newMarkPrefix()}
		var got recorder
		p := s.newPump(meetStdout, nil, io.Discard)
		p.cutter = got.cutter(s.Prefix)
		p.buf = []byte("text" + s.Prefix[:9])
		p.took(len(p.buf))
		p.stop(errors.New("closed"))
		if got.b.String() != "text"+s.Prefix[:9] {
			t.Errorf("%q", got.b.String())
		}
	})
}
