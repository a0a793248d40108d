package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/protocol"
)

// Nobody need read what follow sends.
func TestFollowNeverBlocks(t *testing.T) {
	t.Parallel()
	lines := strings.Repeat(`{"id":"i","type":"result","data":{"text/plain":"1"}}`+"\n", 100) +
		strings.Repeat(`{"id":"i","type":"error"}`+"\n", 100)
	kept, shown := newResults(1<<20), 0
	to := make(chan protocol.Event, protocol.FollowRoom)
	protocol.NewReader(strings.NewReader(lines)).Follow("i", to, func(f protocol.Frame) error {
		v, size, err := ValueOf(f)
		if ok, _ := kept.put(v, size); ok {
			shown++
		}
		return err
	})
	var got []protocol.Event
	for m := range to {
		got = append(got, m)
	}
	if shown != 100 || len(got) != 2 || got[0].Err != nil || !errors.Is(got[1].Err, protocol.ErrFrame) {
		t.Errorf("got %+v", got)
	}
}

// Half a surrogate pair is no character, wherever it stands.
func TestTidy(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"a"`: `"a"`, `"\\ud800"`: `"\\ud800"`, `"\ud800"`: `"\ufffd"`, `"\udc00\ud800"`: `"\ufffd\ufffd"`,
		`"\uD83D\uDE00"`: `"\uD83D\uDE00"`, `"\ud800\u0041"`: `"\ufffd\u0041"`, `"\ud800\ud83d\ude00"`: `"\ufffd\ud83d\ude00"`,
		`{"\udfff":["\"\ud800\"[[["]}`: `{"\ufffd":["\"\ufffd\"[[["]}`, `"\ud800\n"`: `"\ufffd\n"`, `"\ud800`: `"\ufffd`, `"\`: `"\`,
	} {
		text := []byte(in)
		if !tidy(text) || string(text) != want {
			t.Errorf("%s became %s, want %s", in, text, want)
		}
	}
	for depth, want := range map[int]bool{maxDepth: true, maxDepth + 1: false} {
		if got := tidy([]byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))); got != want {
			t.Errorf("depth %d: %t", depth, got)
		}
	}
}

// capture against the plain definition of what it should keep.
func TestCaptureKeepsHeadAndTail(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		budget := rnd.IntN(40)
		c := newCapture(budget)
		var all []byte
		for range rnd.IntN(12) {
			p := make([]byte, rnd.IntN(25))
			for i := range p {
				p[i] = byte('a' + rnd.IntN(26))
			}
			all = append(all, p...)
			if n, err := c.Write(p); n != len(p) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		text, dropped := c.kept().String(), c.kept().dropped
		wantDropped := int64(max(0, len(all)-budget))
		want := string(all)
		if wantDropped > 0 {
			head := budget / 2
			want = string(all[:head]) + "\n... [" + itoa(wantDropped) + " bytes dropped] ...\n" + string(all[len(all)-(budget-head):])
		}
		if text != want || dropped != wantDropped {
			t.Fatalf("budget %d, %q: got %q, %d", budget, all, text, dropped)
		}
		if cap(c.head)+cap(c.tail) > budget {
			t.Fatalf("budget %d: holds %d", budget, cap(c.head)+cap(c.tail))
		}
	}
}

func itoa(n int64) string {
	var digits []byte
	for ; n > 0; n /= 10 {
		digits = append([]byte{byte('0' + n%10)}, digits...)
	}
	return string(digits)
}

// What is kept of output is also bounded in what it takes as JSON, and is the longest
// beginning and end that are within that.
func TestCaptureAsJSON(t *testing.T) {
	t.Parallel()
	const budget = 60
	encoded := func(text string) int {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(text); err != nil {
			t.Fatal(err)
		}
		return b.Len() - len("\"\"\n")
	}
	for name, tt := range map[string]struct {
		text    string
		dropped int64
	}{
		"letters":             {strings.Repeat("x", budget), 0},
		"line breaks":         {strings.Repeat("\n", budget), 0},
		"quotes":              {strings.Repeat(`"`, budget), 0},
		"characters":          {strings.Repeat("é", budget/2), 0},
		"some NULs":           {strings.Repeat("\x00", budget/3), 0},
		"NULs":                {strings.Repeat("\x00", budget), budget - budget/3},
		"more NULs":           {strings.Repeat("\x00", 5*budget), 5*budget - budget/3},
		"no UTF-8":            {strings.Repeat("\xff", budget), budget - 2*budget/3},
		"some of no UTF-8":    {strings.Repeat("\xff", budget/2), 0},
		"NULs, then letters":  {strings.Repeat("\x00", budget/2) + strings.Repeat("x", budget/2), budget/2 - budget/6},
		"letters and NULs":    {strings.Repeat("x", budget) + strings.Repeat("\x00", budget/2), budget/2 + budget/2 - budget/6},
		"the end of an emoji": {strings.Repeat("\x00", budget/2) + strings.Repeat("🙂", 7) + "zz", 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCapture(budget)
			if _, err := c.Write([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			k := c.kept()
			if k.dropped != tt.dropped {
				t.Errorf("dropped %d, want %d; kept %q and %q", k.dropped, tt.dropped, k.head, k.tail)
			}
			if got := encoded(validText(string(k.head)) + validText(string(k.tail))); got > inJSON*budget {
				t.Errorf("%d bytes as JSON", got)
			}
			if head, dropped, tail := k.between(0, int64(len(tt.text))); dropped != tt.dropped ||
				head+tail != int64(len(validText(string(k.head))+validText(string(k.tail)))) {
				t.Errorf("between: %d, %d, %d", head, dropped, tail)
			}
		})
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var text []byte
		for range random.IntN(40) {
			text = append(text, []string{"\x00", "\n", `"`, "x", "\xc3", "\xa9", "\xff", "🙂", "\u2028", "\u2029", "\x9f"}[random.IntN(11)]...)
		}
		if got, want := jsonLen(text), encoded(validText(string(text))); got != want {
			t.Fatalf("%q: %d, want %d", text, got, want)
		}
		for most := range 30 {
			start, end := jsonStart(text, most), jsonEnd(text, most)
			if !bytes.HasPrefix(text, start) || !bytes.HasSuffix(text, end) || encoded(validText(string(start))) > most || encoded(validText(string(end))) > most+2 {
				t.Fatalf("%q, %d: %q, %q", text, most, start, end)
			}
		}
	}
}

// validText is the text as JSON shows it.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s { // an invalid byte ranges as one U+FFFD
		b.WriteRune(r)
	}
	return b.String()
}
