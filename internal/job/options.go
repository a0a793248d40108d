package job

import (
	"fmt"
	"slices"
	"strings"
)

// Options of an execution are the same in a request, in the record and in the command to
// the interpreter. Their tags are those of the API.
type Options struct {
	FigureFormats []string `json:"figureFormats,omitempty" nullable:"true" enum:"png,svg" doc:"Formats of matplotlib's figures. Default: png."`
}

// accept checks the options and returns them without what is given twice.
func (o Options) accept(v *validation) Options {
	o.FigureFormats = figureFormats(v, o.FigureFormats)
	return o
}

// FigureFormats are the formats of figures that exist.
func FigureFormats() []string { return []string{"png", "svg"} }

func figureFormats(v *validation, names []string) []string {
	known := FigureFormats()
	var formats []string
	for i, name := range names {
		switch {
		case !slices.Contains(known, name):
			v.add(fmt.Sprintf("figureFormats[%d]", i), "%s is not a format of figures; use %s", quote(name), strings.Join(known, " or "))
			return nil
		case !slices.Contains(formats, name):
			formats = append(formats, name)
		}
	}
	return formats
}
