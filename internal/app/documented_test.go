package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// promised is the path of operations in the OpenAPI document, with the statuses that it promises for each method.
type promised struct {
	path     *regexp.Regexp
	fixed    int // the number of letters of the path that are not those of a parameter
	statuses map[string]map[string]json.RawMessage
}

var parameter = regexp.MustCompile(`\{\w+\}`)

// allPromised reads the OpenAPI document of the checkout.
var allPromised = sync.OnceValues(func() ([]promised, error) {
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		return nil, err
	}
	var document struct {
		Paths map[string]map[string]struct {
			Responses map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	var all []promised
	for path, operations := range document.Paths {
		literals := parameter.Split(path, -1)
		for i, literal := range literals {
			literals[i] = regexp.QuoteMeta(literal)
		}
		form := strings.Join(literals, `[^/]+`)
		if whole, ok := strings.CutSuffix(path, "/{path}"); ok { // its slashes are not escaped
			form = strings.TrimSuffix(form, `[^/]+`) + `.+`
			path = whole
		}
		p := promised{regexp.MustCompile("^" + form + "$"), len(parameter.ReplaceAllString(path, "")), map[string]map[string]json.RawMessage{}}
		for method, operation := range operations {
			p.statuses[strings.ToUpper(method)] = operation.Responses
		}
		all = append(all, p)
	}
	return all, nil
})

// documented returns the promise for a path; nil if it is no operation's.
func documented(path string) (*promised, error) {
	all, err := allPromised()
	var of *promised
	for i, p := range all {
		if p.path.MatchString(path) && (of == nil || p.fixed > of.fixed) {
			of = &all[i]
		}
	}
	return of, err
}

// keepsPromises is a transport that checks that all answers have a status which the OpenAPI document promises.
// Requests that are no operations of the document are not judged.
type keepsPromises struct {
	tb   testing.TB
	next *http.Transport
}

func (k keepsPromises) CloseIdleConnections() { k.next.CloseIdleConnections() }

func (k keepsPromises) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := k.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	of, err := documented(req.URL.Path)
	if err != nil {
		k.tb.Error(err)
	}
	if of == nil {
		return res, nil
	}
	statuses, known := of.statuses[strings.Replace(req.Method, http.MethodHead, http.MethodGet, 1)]
	_, isPromised := statuses[strconv.Itoa(res.StatusCode)]
	if _, all := statuses["default"]; known && !isPromised && !all {
		k.tb.Errorf("%s %s: status %d is not in the OpenAPI document", req.Method, req.URL.Path, res.StatusCode)
	}
	return res, nil
}
