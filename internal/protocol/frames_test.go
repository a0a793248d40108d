package protocol

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzFrameReader: whatever the code sends, the reader neither panics nor returns
// a frame that the protocol does not allow.
func FuzzFrameReader(f *testing.F) {
	for _, seed := range []string{
		`{"type":"ready","version":2}` + "\n",
		`{"id":"x","type":"error","name":"E","value":"\ud800","traceback":""}` + "\n",
		`{"id":"x","type":"status","status":"exit","exitCode":255}` + "\n",
		`{"id":"x","type":"status","status":"ok","exitCode":1e3}` + "\n",
		"\n", "null\n", "[]\n", "{}\n", "\xff\x00\n", `{"type":`, strings.Repeat("[", 5000) + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fr := NewReader(bytes.NewReader(data))
		for range len(data) + 1 {
			got, err := fr.Next()
			if err != nil {
				if !errors.Is(err, ErrFrame) && !errors.Is(err, io.EOF) {
					t.Fatalf("unexpected error %v", err)
				}
				return
			}
			switch {
			case got.Type == Ready && got.Version == Version, got.Type == Error, got.Type == Failed, got.Type == Rehearsed:
			case got.Type == Status && strings.Contains("ok error exit", got.Status) && got.ExitCode >= 0 && got.ExitCode < 256:
			default:
				t.Fatalf("accepted %+v", got)
			}
		}
		t.Fatal("does not end")
	})
}

func TestFrameReader(t *testing.T) {
	t.Parallel()
	long := `{"type":"error","value":"` + strings.Repeat("x", 100_000) + `"}` + "\n"
	most := `{"type":"error","value":"` + strings.Repeat("x", MaxFrame-len(`{"type":"error","value":""}`)-1) + `"}` + "\n"
	tests := []struct {
		name, in string
		frames   int
		frameErr bool
	}{
		{"none", "", 0, false},
		{"two", `{"type":"error"}` + "\n" + `{"type":"error"}` + "\n", 2, false},
		{"cut off", `{"type":"error"}` + "\n" + `{"type":"err`, 1, false},
		{"long", long + long, 2, false},
		{"longest", most + long, 2, false},
		{"too long", "x" + most, 0, true},
		{"endless", strings.Repeat("x", 2*MaxFrame), 0, true},
		{"wrong version", `{"type":"ready","version":9}` + "\n", 0, true},
		{"not JSON", "hello\n", 0, true},
		{"not an object", "1\n", 0, true},
		{"wrong field", `{"type":"status","status":1}` + "\n", 0, true},
		{"trailing", `{"type":"error"} x` + "\n", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.HalfReader(strings.NewReader(tt.in))} {
				fr := NewReader(r)
				n := 0
				var err error
				for {
					if _, err = fr.Next(); err != nil {
						break
					}
					n++
				}
				if n != tt.frames || errors.Is(err, ErrFrame) != tt.frameErr {
					t.Errorf("%d frames, then %v", n, err)
				}
			}
		})
	}
}
