package cli

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func encoded(t *testing.T, picture image.Image) []byte {
	t.Helper()
	var data bytes.Buffer
	if err := png.Encode(&data, picture); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// decoded draws what a sixel says, as a terminal does.
func decoded(t *testing.T, text string) (width, height int, pixels map[image.Point]string) {
	t.Helper()
	text, ok := strings.CutPrefix(text, "\x1bPq\"1;1;")
	text, end := strings.CutSuffix(text, "\x1b\\\n")
	if !ok || !end {
		t.Fatalf("no sixel: %.80q", text)
	}
	colours, pixels := map[string]string{}, map[image.Point]string{}
	x, y, colour, times := 0, 0, "", 1
	for i, token := range regexp.MustCompile(`^\d+;\d+|#\d+;2;\d+;\d+;\d+|#\d+|!\d+|[?-~]|[$-]`).FindAllString(text, -1) {
		number := token[1:]
		switch {
		case i == 0:
			w, h, _ := strings.Cut(token, ";")
			width, _ = strconv.Atoi(w)
			height, _ = strconv.Atoi(h)
		case token[0] == '#' && strings.Contains(token, ";2;"):
			name, value, _ := strings.Cut(number, ";2;")
			colours[name] = value
		case token[0] == '#':
			colour = colours[number]
		case token[0] == '!':
			times, _ = strconv.Atoi(number)
		case token == "$":
			x = 0
		case token == "-":
			x, y = 0, y+sixelBand
		default:
			for ; times > 0; times-- {
				for bit := range sixelBand {
					if (token[0]-'?')>>bit&1 == 1 {
						pixels[image.Pt(x, y+bit)] = colour
					}
				}
				x++
			}
			times = 1
		}
	}
	return width, height, pixels
}

func TestSixel(t *testing.T) {
	t.Parallel()
	picture := image.NewNRGBA(image.Rect(0, 0, 5, 8)) // transparent
	picture.Set(1, 0, color.NRGBA{R: 0xff, A: 0xff})
	picture.Set(4, 7, color.NRGBA{B: 0xff, A: 0xff})
	width, height, pixels := decoded(t, sixel(encoded(t, picture)))
	if width != 5 || height != 8 || len(pixels) != 40 {
		t.Errorf("%d x %d, %d pixels", width, height, len(pixels))
	}
	for at, want := range map[image.Point]string{{X: 1, Y: 0}: "100;0;0", {X: 4, Y: 7}: "0;0;100", {X: 0, Y: 0}: "100;100;100"} {
		if pixels[at] != want {
			t.Errorf("at %v: %s, want %s", at, pixels[at], want)
		}
	}
}

func TestSixelOfManyColours(t *testing.T) {
	t.Parallel()
	picture := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		picture.Set(i%64, i/64, color.NRGBA{R: uint8(i % 64 * 4), G: uint8(i / 64 * 4), B: uint8(i), A: 0xff})
	}
	if _, _, pixels := decoded(t, sixel(encoded(t, picture))); len(pixels) != 64*64 {
		t.Errorf("%d pixels", len(pixels))
	}
}

func TestSixelOfBadPictures(t *testing.T) {
	t.Parallel()
	bomb := encoded(t, image.NewGray(image.Rect(0, 0, 5000, 5000)))
	for name, data := range map[string][]byte{"of 25 million pixels": bomb, "no PNG": []byte("\x1b]0;evil\a"), "cut": bomb[:60], "nothing": nil} {
		if text := sixel(data); strings.Contains(text, "\x1b") || !strings.HasSuffix(text, "]\n") {
			t.Errorf("%s: %.80q", name, text)
		}
	}
}
