package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/kaa-run/kaa/internal/api"
)

// plainHeader follows the status in the answers that net/http gives by itself, before there is a
// request for a handler. They are plain text, and no setting changes that.
const plainHeader = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// problemInPlaceOf returns a problem document in place of an answer of net/http's own. own reports
// whether answer is one.
func problemInPlaceOf(answer []byte) (problem []byte, own bool) {
	head, reason, found := bytes.Cut(answer, []byte(plainHeader))
	if !found || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) || bytes.Contains(head, []byte("\r\n")) {
		return nil, false
	}
	head = head[len("HTTP/1.1 "):]
	status, err := strconv.Atoi(string(head[:min(len(head), len("431"))]))
	if err != nil {
		return nil, false
	}
	return problemAnswer(status, string(reason)), true
}

// problemAnswer returns a whole answer to bytes that are no request. reason is net/http's.
func problemAnswer(status int, reason string) []byte {
	p := api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: "invalid_request", Detail: "the server cannot read the request: " + reason}
	switch status {
	case http.StatusNotImplemented:
		p.Code = "unsupported_encoding"
	case http.StatusRequestHeaderFieldsTooLarge:
		p.Code = "header_too_large"
		p.Detail = fmt.Sprintf("line and header of the request have more than %d bytes; send a shorter path, query, cookies or other fields", mostHeader)
	}
	text, err := json.Marshal(&p)
	if err != nil {
		panic(err) // a problem is strings and numbers
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, p.Title, len(text), text)
}
