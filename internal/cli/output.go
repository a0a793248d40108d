package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// JSON is a standard output on which commands print JSON: a line for each entry of a list, and an object for anything else.
type JSON struct{ io.Writer }

func inJSON(w io.Writer) bool {
	_, ok := w.(JSON)
	return ok
}

// Color is a standard output on which tables have colours.
type Color struct{ *os.File }

// ForPeople returns standard output with colours if it is a terminal that shows them.
func ForPeople(f *os.File, environ []string) io.Writer {
	for _, e := range environ {
		if name, value, _ := strings.Cut(e, "="); name == "NO_COLOR" && value != "" || e == "TERM=dumb" {
			return f
		}
	}
	if windowOf(f) == nil {
		return f
	}
	return Color{f}
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// show prints one thing: as a text for people, or as JSON.
func show(w io.Writer, v any, text string) error {
	if inJSON(w) {
		return encode(w, v)
	}
	return printed(w, text)
}

func printed(w io.Writer, line string) error {
	_, err := fmt.Fprintln(w, line)
	return err //nolint:wrapcheck // of the output
}

// list prints a table of entries, or each of them as a line of JSON.
func list[T any](w io.Writer, head string, entries []T, row func(T) []string) error {
	if inJSON(w) {
		for _, e := range entries {
			if err := encode(w, e); err != nil {
				return err
			}
		}
		return nil
	}
	t := table{}
	t.add(strings.Split(head, " ")...)
	for _, e := range entries {
		t.add(row(e)...)
	}
	return t.print(w)
}

// table has the cells of a table. Its first row is the head, where _ stands for a space.
type table struct {
	rows [][]string
}

func (t *table) add(cells ...string) {
	if len(t.rows) == 0 {
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "_", " ")
		}
	}
	t.rows = append(t.rows, cells)
}

// print writes the columns, two spaces apart.
func (t *table) print(w io.Writer) error {
	_, colored := w.(Color)
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for n, row := range t.rows {
		for i, cell := range row {
			shown := plain(cell)
			if colored {
				shown = paint(shown, n == 0)
			}
			text.WriteString(shown)
			if i < len(row)-1 {
				text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(w, text.String())
	return err //nolint:wrapcheck // of the output
}

// plain replaces control characters: names and messages come from other people, and they are commands to a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

// paint colours the head of a table, and words that are states.
func paint(cell string, head bool) string {
	code := ""
	switch cell {
	case "ok", "completed", "idle", "open", "takes jobs":
		code = "32"
	case "error", "failed", "sick", "refused":
		code = "31"
	case "running", "busy", "queued", "waiting", "active", "receiving":
		code = "36"
	case "paused", "drained", "stopping", "cancelled", "interrupted", "exit", "scheduled":
		code = "33"
	}
	switch {
	case head:
		code = "1"
	case code == "":
		return cell
	}
	return "\x1b[" + code + "m" + cell + "\x1b[0m"
}

func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// momentOr is moment, and a dash for none.
func momentOr(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return moment(t)
}

// inBytes writes a number of bytes for people.
func inBytes(n int64) string {
	size, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for size >= 1024 && len(units) > 1 {
		size, units = size/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[0])
}

// valueOf returns what a pointer points to, or nothing.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
