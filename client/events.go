package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// Event is a server-sent event. Data is a JSON object whose type is Type.
type Event struct {
	ID, Type string
	Data     json.RawMessage
}

// ErrBroken is the error of a stream that ended before its last event.
var ErrBroken = errors.New("the connection to Kaa ended before the program did")

// Events yields the events of an answer until its end, and closes it. The last error is io.EOF at the end of the stream.
func Events(body io.ReadCloser) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		defer func() { _ = body.Close() }()
		for r := bufio.NewReader(body); ; {
			e, err := nextEvent(r)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// nextEvent returns the next event that has data.
func nextEvent(r *bufio.Reader) (Event, error) {
	var e Event
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return Event{}, fmt.Errorf("read events: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 && e.Data != nil {
			return e, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			e.ID = string(value)
		case "event":
			e.Type = string(value)
		case "data":
			e.Data = append(e.Data, value...)
		}
	}
}

// wantsEvents asks for a stream, and for JSON of a server that has none.
func wantsEvents(r *http.Request) { r.Header.Set("Accept", "text/event-stream, application/json") }

func isStream(res *http.Response) bool {
	return strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")
}

// Lines yields the lines of JSON of an answer until its end, and closes it. Empty lines, which show that the connection lives, are left out.
func Lines(body io.ReadCloser) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		defer func() { _ = body.Close() }()
		for r := bufio.NewReader(body); ; {
			line, err := r.ReadBytes('\n')
			if text := bytes.TrimSpace(line); len(text) > 0 && !yield(text, nil) {
				return
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// BatchLines yields the results of a batch, a line of JSON each, in the form of BatchResultLine. Its last line is a BatchResultsEnd.
func (c *Client) BatchLines(ctx context.Context, id string, params GetBatchResultsParams) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		res, err := c.GetBatchResults(ctx, id, params) //nolint:bodyclose // Lines does it
		if err != nil {
			yield(nil, err)
			return
		}
		for line, err := range Lines(res.Body) {
			if !yield(line, err) {
				return
			}
		}
	}
}
