package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// The part of a table that a model gets. It asks for more by code.
const (
	mostRows    = 40
	mostColumns = 30
	mostCell    = 200
)

// column is a column of a data frame.
type column struct {
	name  string
	cells []json.RawMessage
}

// tableOf returns a data frame as a table of Markdown, whose cells are not cut as those of repr() are. ok is false for another value.
func tableOf(v job.Value) (text string, ok bool) {
	if v.Data["text/html"] == nil {
		return "", false // not a data frame
	}
	columns, ok := columnsOf(v.Data["application/json"])
	if !ok {
		return "", false
	}
	rows, width := len(columns[0].cells), len(columns)
	allRows, allColumns := int64(rows), int64(width)
	if t := v.Truncated; t != nil {
		if t.Rows != nil {
			allRows = t.Rows.Total
		}
		if t.Columns != nil {
			allColumns = t.Columns.Total
		}
	}
	columns = columns[:min(width, mostColumns)]
	var b strings.Builder
	row := func(cell func(column) string) {
		for _, c := range columns {
			b.WriteString("| " + cell(c) + " ")
		}
		b.WriteString("|\n")
	}
	row(func(c column) string { return cellText(c.name) })
	row(func(column) string { return "---" })
	for i := range min(rows, mostRows) {
		row(func(c column) string { return cellOf(c.cells[i]) })
	}
	if shown := min(rows, mostRows); int64(shown) < allRows || int64(len(columns)) < allColumns {
		fmt.Fprintf(&b, "(%d of %d rows, %d of %d columns)\n", shown, allRows, len(columns), allColumns)
	}
	return b.String(), true
}

// columnsOf reads an object of lists of equal length, in its order.
func columnsOf(data json.RawMessage) (columns []column, ok bool) {
	if len(data) == 0 || data[0] != '{' {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil {
		return nil, false
	}
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		c := column{name: name}
		if err != nil || !isName || decoder.Decode(&c.cells) != nil || len(columns) > 0 && len(c.cells) != len(columns[0].cells) {
			return nil, false
		}
		columns = append(columns, c)
	}
	return columns, len(columns) > 0
}

// cellOf returns a value as the text of a cell.
func cellOf(data json.RawMessage) string {
	var text string
	switch {
	case bytes.Equal(data, []byte("null")):
		return ""
	case json.Unmarshal(data, &text) == nil:
		return cellText(text)
	}
	return cellText(string(data))
}

func cellText(text string) string {
	text = strings.NewReplacer("|", `\|`, "\n", " ").Replace(plain(text))
	return clip(text, mostCell)
}
