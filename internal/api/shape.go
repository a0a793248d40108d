package api

import (
	"bytes"
	"encoding/json"

	"github.com/kaa-run/kaa/internal/service"
)

// shallow counts the values of a text that are nested at most so deep: of an object's fields, and
// of the items in them, has to be kept to know where each is.
func shallow(text []byte, most int) int {
	values := 1
	_ = service.WalkJSON(text, func(char byte, depth int) error { // it never fails
		if char == ',' && depth <= most {
			values++
		}
		return nil
	})
	return values
}

// kindOf is an empty value of the kind that a text has, for a schema to judge.
func kindOf(text json.RawMessage) any {
	switch text = bytes.TrimLeft(text, " \t\r\n"); {
	case len(text) == 0 || text[0] == 'n':
		return nil
	case text[0] == '{':
		return map[string]any{}
	case text[0] == '[':
		return []any{}
	case text[0] == '"':
		return ""
	case text[0] == 't' || text[0] == 'f':
		return true
	default:
		return 0.0
	}
}
