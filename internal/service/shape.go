package service

import (
	"bytes"
	"fmt"
)

const (
	// A value that is decoded costs some 300 bytes at most, beside its text: a map with one
	// entry. So a text has room for a value in so many bytes, beyond what small ones may have.
	bytesPerValue = 64
	// freeValues are those that a text of any size may have: a thousand arguments, or the
	// 16 KiB of metadata as short lists.
	freeValues = 8192
	// maxDepth bounds how deep values are nested: each level is a step of recursion.
	maxDepth = 128
)

// CheckJSON refuses JSON that is small as text and large as values, before it is decoded. It
// finds out in one pass, and does not care whether the text is JSON otherwise.
func CheckJSON(text []byte) error { return checkJSON(text, maxDepth, maxDepth) }

// CheckTopJSON does the same for JSON of which all that is nested deeper than a depth stays text: those values do not count.
func CheckTopJSON(text []byte, depth int) error { return checkJSON(text, depth, len(text)) }

func checkJSON(text []byte, counted, deepest int) error {
	most, values := freeValues+len(text)/bytesPerValue, 1
	return WalkJSON(text, func(char byte, depth int) error {
		switch {
		case depth > deepest:
			return fmt.Errorf("values are nested more than %d deep; send them flatter, or as text", maxDepth)
		case char == '}' || char == ']' || depth > counted:
			return nil
		}
		if values++; values > most {
			return fmt.Errorf("the JSON has more than %d values in %d bytes; send that much data as text, as standard input or as a file", most, len(text))
		}
		return nil
	})
}

// WalkJSON calls see for each character that gives a text its shape, brackets and commas, with how
// deep it is nested, until see returns an error.
func WalkJSON(text []byte, see func(char byte, depth int) error) error {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
		default:
			continue
		}
		if err := see(text[i], depth); err != nil {
			return err
		}
	}
	return nil
}

// endOfString returns where the string that begins at i ends.
func endOfString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		next := bytes.IndexAny(text[i:], `"\`)
		if next < 0 {
			return len(text)
		}
		i += next
		if text[i] == '"' {
			return i
		}
		i++ // what is escaped
	}
	return i
}
