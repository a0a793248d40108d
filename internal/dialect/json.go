package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/service"
)

// ReadJSON decodes the body of a request. Its error is a Fault that says what is wrong with the body.
func ReadJSON(r *http.Request, into any) error {
	from := &remembering{r: r.Body}
	return worded(Decode(from, into), from.err)
}

// ReadRawJSON does the same for a body of which all that is nested deeper than a depth stays text (json.RawMessage). Such text may have
// any number of values.
func ReadRawJSON(r *http.Request, depth int, into any) error {
	from := &remembering{r: r.Body}
	return worded(decode(from, into, func(text []byte) error { return service.CheckTopJSON(text, depth) }), from.err)
}

// Decode decodes the JSON of a caller, the first value of a body. Each decoding of what a caller sends goes through it, Unmarshal or
// ReadRawJSON: a list of empty objects takes a hundred times its size when it is decoded. The error is io.EOF for an empty body, and a
// Fault for JSON that is refused for its shape.
func Decode(r io.Reader, into any) error { return decode(r, into, service.CheckJSON) }

func decode(r io.Reader, into any, check func(text []byte) error) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err //nolint:wrapcheck // the caller words it
	}
	if err = refused(check(text)); err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(text)).Decode(into) //nolint:wrapcheck // io.EOF among them
}

// Unmarshal does the same as Decode for a text, all of which has to be one value.
func Unmarshal(text []byte, into any) error {
	if err := refused(service.CheckJSON(text)); err != nil {
		return err
	}
	return json.Unmarshal(text, into) //nolint:wrapcheck // the caller words it
}

// refused makes a Fault of what a check says.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return NewFault(http.StatusBadRequest, "invalid_request", "%v", err)
}

// worded says what is wrong with a body. Reading it has failed with another error, if it did.
func worded(err, reading error) error {
	wrong, syntax := (*json.UnmarshalTypeError)(nil), (*json.SyntaxError)(nil)
	fault := (*Fault)(nil)
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.Is(err, io.EOF):
		return NewFault(http.StatusBadRequest, "invalid_request", "the body is empty; send JSON")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return NewFault(http.StatusBadRequest, "invalid_request", "the body is JSON that ends early; send all of it")
	case errors.As(err, &wrong) && wrong.Field != "":
		return NewFault(http.StatusBadRequest, "invalid_request", "%s cannot be a %s", lowered(wrong.Field), kindOf(wrong.Value))
	case errors.As(err, &wrong):
		return NewFault(http.StatusBadRequest, "invalid_request", "the body cannot be a %s; send a JSON object", kindOf(wrong.Value))
	case errors.As(err, &syntax):
		return NewFault(http.StatusBadRequest, "invalid_request", "the body is no JSON from byte %d on", syntax.Offset)
	case err != nil && reading == nil: // of a type with a form of its own, such as a time
		return NewFault(http.StatusBadRequest, "invalid_request", "a value of the body has a wrong form; times have that of RFC 3339")
	}
	return err
}

// remembering is a reader that knows the error with which it failed: a decoder's own errors are the caller's mistakes.
type remembering struct {
	r   io.Reader
	err error
}

func (m *remembering) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err //nolint:wrapcheck // io.EOF among them
}

// lowered is the name of a field as the protocols write it: encoding/json has that of the Go field, where it has no other.
func lowered(field string) string { return strings.ToLower(field[:1]) + field[1:] }

// kindOf is the kind of a JSON value, without the value: encoding/json adds that of a number.
func kindOf(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	return kind
}
