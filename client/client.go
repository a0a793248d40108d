// Package client calls a Kaa from Go: a method for each operation of the API, with types of their requests and answers, and by hand what
// is a stream: server-sent events, lines of JSON and WebSockets. The file generated.go is made from docs/openapi.json.
//
//	c := client.New("http://127.0.0.1:8080", os.Getenv("KAA_API_KEY"))
//	result, err := c.Execute(ctx, client.ExecuteBody{Code: "print(6 * 7)"})
//
// A program that fails is a result. An error is a *ProblemError if the Kaa refused the call, and an *UnreachableError if there was no answer.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls one Kaa. It is safe for use by several goroutines.
type Client struct {
	url, key string
	http     *http.Client
	retryFor time.Duration
}

// New returns a client of the Kaa at an address such as http://127.0.0.1:8080; without a scheme it is http. The key may be empty.
func New(address, key string) *Client {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return &Client{url: strings.TrimRight(address, "/"), key: key, http: http.DefaultClient, retryFor: byDefault}
}

// With returns a client of the same Kaa that sends its requests by h.
func (c *Client) With(h *http.Client) *Client {
	other := *c
	other.http = h
	return &other
}

// RetryFor returns a client of the same Kaa that waits for so long in all to send a call again that was refused with 429 or 503; a minute
// by default, and 0 for never.
func (c *Client) RetryFor(most time.Duration) *Client {
	other := *c
	other.retryFor = most
	return &other
}

// URL is the address of the Kaa.
func (c *Client) URL() string { return c.url }

// Key is the key that the client sends.
func (c *Client) Key() string { return c.key }

// Option changes a request before it is sent.
type Option func(*http.Request)

// Header sets a header of a request.
func Header(name, value string) Option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// IdempotencyKey has several requests with the same key and body make one job or batch.
func IdempotencyKey(key string) Option { return Header("Idempotency-Key", key) }

// stream is a body that is sent as it is.
type stream struct {
	io.Reader
	contentType string
}

// Do sends a request to a path and returns an answer of success, whose body the caller closes. A body is JSON unless it is an io.Reader.
func (c *Client) Do(ctx context.Context, method, path string, body any, options ...Option) (*http.Response, error) {
	return c.open(ctx, method, path, nil, body, options)
}

// open sends a request, and again where that does no harm. An answer other than 2xx is a ProblemError.
func (c *Client) open(ctx context.Context, method, path string, query url.Values, body any, options []Option) (*http.Response, error) {
	req, err := c.request(ctx, method, path, query, body, options)
	if err != nil {
		return nil, err
	}
	for waited := time.Duration(0); ; {
		res, err := c.http.Do(req)
		if err != nil {
			return nil, c.unreachable(err)
		}
		if res.StatusCode/100 == 2 {
			return res, nil
		}
		problem := c.refused(res)
		_ = res.Body.Close()
		pause, again := retryAfter(req, res, problem)
		if !again || waited+pause > c.retryFor {
			return nil, problem
		}
		waited += pause
		if req, err = resend(req, pause); err != nil {
			return nil, fmt.Errorf("%w (%w)", problem, err)
		}
	}
}

// request makes a request.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body any, options []Option) (*http.Request, error) {
	content, contentType, err := encoded(body)
	if err != nil {
		return nil, err
	}
	address := c.url + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, fmt.Errorf("%s (KAA_URL) is no address of a Kaa: %w", c.url, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	for _, o := range options {
		o(req)
	}
	return req, nil
}

// encoded returns a body as it is sent, with its media type.
func encoded(body any) (io.Reader, string, error) {
	switch b := body.(type) {
	case nil:
		return nil, "", nil
	case stream:
		return b.Reader, b.contentType, nil
	case io.Reader:
		return b, "", nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, "", fmt.Errorf("encode request: %w", err)
	}
	return bytes.NewReader(text), "application/json", nil
}

// call sends a request and decodes the answer, if one is wanted.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, answer any, options []Option) error {
	res, err := c.open(ctx, method, path, query, body, options)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if answer == nil {
		_, err = io.Copy(io.Discard, res.Body) // so that the connection serves the next request
	} else {
		err = json.NewDecoder(res.Body).Decode(answer)
	}
	switch {
	case err == nil, answer == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return c.unreachable(fmt.Errorf("the answer broke off: %w", err))
	}
	return fmt.Errorf("the answer of %s is not one of a Kaa: %w", c.url, err)
}

// escapePath escapes a path of several segments.
func escapePath(path string) string { return (&url.URL{Path: path}).EscapedPath() }

func putText(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func putTime(q url.Values, name string, value time.Time) {
	if !value.IsZero() {
		q.Set(name, value.UTC().Format(time.RFC3339Nano))
	}
}

func putBool(q url.Values, name string, value *bool) {
	if value != nil {
		q.Set(name, strconv.FormatBool(*value))
	}
}

func putInt(q url.Values, name string, value *int64) {
	if value != nil {
		q.Set(name, strconv.FormatInt(*value, 10))
	}
}

// putList writes a list as the API takes it, separated by commas.
func putList(q url.Values, name string, values []string) {
	if len(values) > 0 {
		q.Set(name, strings.Join(values, ","))
	}
}

// putEach writes each item of a list as a parameter of its own.
func putEach(q url.Values, name string, values []string) {
	if len(values) > 0 {
		q[name] = values
	}
}

// Get decodes what a path has.
func (c *Client) Get(ctx context.Context, path string, answer any) error {
	return c.call(ctx, http.MethodGet, path, nil, nil, answer, nil)
}
