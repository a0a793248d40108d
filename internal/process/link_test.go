package process

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestParseEnd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]WorkerEnd{
		report(9, 1, 0, 2, 500, 1, 100, 2048): {Member: -1, Status: 9, CPUMicros: 3_000_600, MaxRSS: 2048 << 10, Touched: true},
		report(256, 0, 1, 0, 0, 0, 0, 0):      {Member: -1, Status: 256, Spent: true},
		"M 17 9 1500 2048":                    {Member: 17, Status: 9, CPUMicros: 1500, MaxRSS: 2048 << 10},
	} {
		if got, err := parseEnd([]byte(text)); err != nil || *got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"E", "E 1 2 3 0", report(1, 0, 0, 0, 0, 0, 0, 0)[1:], "M", "M 1 2 3", "M 1 2 3 x", "M -1 9 1 2", "M 1 2 3 4 5"} {
		if got, err := parseEnd([]byte(text)); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// report is what a slot says of a worker's end.
func report(status uint32, touched, spent byte, userSeconds, userMicros, systemSeconds, systemMicros, rss uint64) string {
	data := binary.NativeEndian.AppendUint32([]byte{'E', touched, spent, 0}, status)
	for _, n := range []uint64{userSeconds, userMicros, systemSeconds, systemMicros, rss} {
		data = binary.NativeEndian.AppendUint64(data, n)
	}
	return string(data) + strings.Repeat("\x00", 13*8)
}
