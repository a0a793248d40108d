package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/kaa-run/kaa/internal/service"
)

const (
	// maxHints bounds the mistakes of one request for which a hint is looked up.
	maxHints = 10
	// maxTypos is how many letters a name may be away from the one that was meant.
	maxTypos = 2
	// maxFieldName is the longest name for which a hint is looked up.
	maxFieldName = 64
	// schemasKey is where an operation's metadata has the registry of its schemas.
	schemasKey = "schemas"
)

// hints says what a caller may have meant where huma only says what is wrong.
type hints struct {
	schemas huma.Registry
	body    *huma.Schema // of the request
	left    int
}

// hintsOf returns the hints for requests of an operation.
func hintsOf(op *huma.Operation) *hints {
	if op == nil || op.RequestBody == nil {
		return nil
	}
	schemas, _ := op.Metadata[schemasKey].(huma.Registry)
	return newHints(schemas, jsonSchema(op.RequestBody.Content))
}

func newHints(schemas huma.Registry, body *huma.Schema) *hints {
	if schemas == nil || body == nil {
		return nil
	}
	return &hints{schemas: schemas, body: body, left: maxHints}
}

// improve returns the message for a mistake, with a hint if there is one.
func (h *hints) improve(location, message string) string {
	if h == nil || message != validation.MsgUnexpectedProperty {
		return message
	}
	if h.left--; h.left < 0 {
		return message
	}
	known, name := h.namesAt(location)
	if len(known) == 0 {
		return message
	}
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("unknown field; did you mean %s?", near)
	}
	return "unknown field; known are " + strings.Join(known, ", ")
}

// namesAt returns the fields that are known where an unknown one was found, and its name.
func (h *hints) namesAt(location string) (known []string, name string) {
	rest, ok := strings.CutPrefix(location, "body.")
	if !ok {
		return nil, ""
	}
	schema := resolve(h.schemas, h.body)
	parts := strings.Split(rest, ".")
	for _, part := range parts[:len(parts)-1] {
		field, _, isItem := strings.Cut(part, "[")
		if schema == nil || schema.Properties[field] == nil {
			return nil, ""
		}
		schema = resolve(h.schemas, schema.Properties[field])
		if isItem && schema != nil {
			schema = resolve(h.schemas, schema.Items)
		}
	}
	if schema == nil {
		return nil, ""
	}
	return slices.Sorted(maps.Keys(schema.Properties)), parts[len(parts)-1]
}

// nearest returns the one of known that name may be a typing mistake for, or "".
func nearest(name string, known []string) string {
	if len(name) > maxFieldName {
		return ""
	}
	best, least := "", maxTypos+1
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters have to be inserted, deleted, replaced or swapped with the
// next one to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// unmarshal is json.Unmarshal with an error that says where text is no JSON. A text has to have a
// shape that does not cost much, unless it is kept as text.
func unmarshal(text []byte, v any) error {
	if _, ok := v.(*rawBatch); !ok {
		if err := service.CheckJSON(text); err != nil {
			return err
		}
	}
	err := json.Unmarshal(text, v)
	if errors.As(err, new(*json.SyntaxError)) {
		return errors.New(jsonMistake(text, err))
	}
	return err
}

// jsonMistake says where text is no JSON: encoding/json's message with line and column, which
// count from 1, in characters.
func jsonMistake(text []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset > int64(len(text)) {
		return withoutGo(err.Error())
	}
	before := text[:max(0, syntax.Offset-1)]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("not JSON: %s, at line %d, column %d", syntax.Error(), line, column)
}
