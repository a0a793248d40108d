package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"
	"strings"
)

const (
	// sixelColours is how many registers of colours every terminal with sixel has.
	sixelColours = 256
	// sixelPixels bounds a picture: code that is not trusted has made it, and 50 KB of PNG can have 100 million pixels.
	sixelPixels = 16 << 20
	// sixelBand is the height of a row of sixels.
	sixelBand = 6
)

// sixel is the protocol of DEC's VT340, in the colours that the picture has most. A picture that cannot be shown is named.
func sixel(data []byte) string {
	size, err := png.DecodeConfig(bytes.NewReader(data))
	if err == nil && size.Width*size.Height > sixelPixels {
		return fmt.Sprintf("[a picture of %d x %d pixels; kaa run --out saves it]\n", size.Width, size.Height)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return fmt.Sprintf("[a picture that is no PNG: %v]\n", err)
	}
	pixels, palette := quantized(picture)
	width, height := picture.Bounds().Dx(), picture.Bounds().Dy()
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "\x1bPq\"1;1;%d;%d", width, height)
	for i, c := range palette {
		_, _ = fmt.Fprintf(&out, "#%d;2;%d;%d;%d", i, percent(c.R), percent(c.G), percent(c.B))
	}
	for top := 0; top < height; top += sixelBand {
		sixelRow(&out, pixels[top*width:min(top+sixelBand, height)*width], width)
	}
	out.WriteString("\x1b\\\n")
	return out.String()
}

func percent(of uint8) int { return (int(of)*100 + 127) / 255 }

// sixelRow writes up to six lines of pixels, one colour after the other.
func sixelRow(out *strings.Builder, pixels []uint8, width int) {
	var used [sixelColours]bool
	for _, p := range pixels {
		used[p] = true
	}
	for colour, is := range used {
		if !is {
			continue
		}
		_, _ = fmt.Fprintf(out, "#%d", colour)
		last, times := byte(0), 0
		for x := range width + 1 {
			bits := byte(0)
			for y := 0; x < width && y*width < len(pixels); y++ {
				if int(pixels[y*width+x]) == colour {
					bits |= 1 << y
				}
			}
			if x < width && (times == 0 || bits == last) {
				last, times = bits, times+1
				continue
			}
			_, _ = fmt.Fprintf(out, "!%d%c", times, '?'+last)
			last, times = bits, 1
		}
		out.WriteByte('$')
	}
	out.WriteByte('-')
}

// quantized returns the pixels of a picture on white, as numbers of the palette.
func quantized(picture image.Image) (pixels []uint8, palette []color.NRGBA) {
	b := picture.Bounds()
	colours := make([]uint16, 0, b.Dx()*b.Dy())
	counts := map[uint16]int{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := coarse(picture.At(x, y))
			colours = append(colours, c)
			counts[c]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b uint16) int {
		return cmp.Or(counts[b]-counts[a], int(a)-int(b))
	})
	frequent = frequent[:min(len(frequent), sixelColours)]
	for _, c := range frequent {
		palette = append(palette, fine(c))
	}
	numbers := make(map[uint16]uint8, len(counts))
	for c := range counts {
		numbers[c] = nearest(palette, fine(c))
	}
	pixels = make([]uint8, len(colours))
	for i, c := range colours {
		pixels[i] = numbers[c]
	}
	return pixels, palette
}

// coarse is a colour on white with five bits for each of red, green and blue.
func coarse(c color.Color) uint16 {
	r, g, b, a := c.RGBA()
	white := 0xffff - a
	return uint16((r+white)>>11<<10 | (g+white)>>11<<5 | (b+white)>>11) //nolint:gosec // 15 bits
}

func fine(c uint16) color.NRGBA {
	spread := func(v uint16) uint8 { return uint8(v&31<<3 | v&31>>2) } //nolint:gosec // 8 bits
	return color.NRGBA{R: spread(c >> 10), G: spread(c >> 5), B: spread(c), A: 0xff}
}

func nearest(palette []color.NRGBA, c color.NRGBA) uint8 {
	best, least := 0, 1<<30
	for i, p := range palette {
		r, g, b := int(p.R)-int(c.R), int(p.G)-int(c.G), int(p.B)-int(c.B)
		if d := r*r + g*g + b*b; d < least {
			best, least = i, d
		}
	}
	return uint8(best)
}
