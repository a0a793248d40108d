package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/service"
)

// keyProtocol begins the subprotocol with which a browser's socket brings its key: its scripts can
// set no header.
const keyProtocol = "kaa-key."

// API is Kaa's own dialect: the operations of docs/api.md.
type API struct {
	http.Handler
	server *server
}

// Key returns the API key of a request.
func (*API) Key(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	if key := r.Header.Get("X-API-Key"); key != "" {
		return key
	}
	return keyOfBrowser(r)
}

// keyOfBrowser reads the key of a WebSocket that a script of a page opens: it can set no
// header but the subprotocols. The key is not put into the URL, which proxies log.
func keyOfBrowser(r *http.Request) string {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for item := range strings.SplitSeq(line, ",") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(item), keyProtocol); ok {
				key, err := base64.RawURLEncoding.DecodeString(text)
				if err == nil {
					return string(key)
				}
			}
		}
	}
	return ""
}

// Public names what needs no key: what probes and readers of the docs ask for.
func (*API) Public(r *http.Request) bool {
	switch r.URL.Path {
	case "/", "/healthz", "/readyz", "/docs", "/openapi.json", "/openapi.yaml", consoleFolder, iconPath:
		return true
	}
	return strings.HasPrefix(r.URL.Path, consoleFolder+"/") // the same for all callers
}

// Probe names the routes that machines ask for all day.
func (*API) Probe(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics":
		return true
	}
	return false
}

// Body streams files, and takes forms as they are.
func (*API) Body(r *http.Request) service.Body {
	switch {
	case isPort(r):
		return service.BodyPassed
	case isFSContent(r):
		return service.BodyFile
	case isRaw(r):
		return service.BodyStreamed
	case isLines(r):
		return service.BodyLong
	case isForm(r) && isFSWrite(r):
		return service.BodyBinaryPacked
	case isForm(r):
		return service.BodyBinary
	case isFSWrite(r):
		return service.BodyTextPacked
	}
	return service.BodyText
}

// Refuse answers with a problem.
func (*API) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, _ := problemOf(err)
	answeredWith(r.Context(), p)
	answerProblem(w, p)
}

// abort answers with a problem and runs no further handler.
func abort(c *gin.Context, p *Problem) {
	for name, values := range p.GetHeaders() {
		c.Header(name, values[0])
	}
	c.Header("Content-Type", p.ContentType(""))
	answeredWith(c.Request.Context(), p)
	c.Abort()
	c.PureJSON(p.Status, p)
}

// answeredWith notes the problem that a request is answered with.
func answeredWith(ctx context.Context, p *Problem) {
	call := service.CallOf(ctx)
	call.Problem = p.Code
	if p.JobID != "" {
		call.JobID = p.JobID
	}
}

// noted enters the route and the ids in the path into the call of a request.
func noted(c *gin.Context) {
	call := service.CallOf(c.Request.Context())
	call.Route = c.FullPath()
	if id := c.Param("id"); strings.HasPrefix(call.Route, "/v1/sessions/") {
		call.SessionID = id
	} else if strings.HasPrefix(call.Route, jobsPath+"/") {
		call.JobID = id
	}
}

// mostParameters is the largest number of parameters in a query: each unknown one is reported as an error.
const mostParameters = 64

// bounded refuses queries of which the values would take much more than their text.
func bounded(c *gin.Context) {
	if strings.Count(c.Request.URL.RawQuery, "&") >= mostParameters && !isPort(c.Request) {
		abort(c, badRequest(fmt.Sprintf("the query has more than %d parameters; see docs/api.md for those that there are", mostParameters)))
	}
}

// streamKey is the context key of a body that is a file.
type streamKey struct{}

// streamed lets the handler of a file that is a body find it: huma passes it no request. A part of a
// file, which clients send to go on with an upload, would replace the whole of it.
func streamed(c *gin.Context) {
	if !isRaw(c.Request) && !isLines(c.Request) {
		return
	}
	if c.GetHeader("Content-Range") != "" {
		abort(c, badRequest("header.Content-Range: files are put whole; send all of the file, without this header",
			FieldIssue{"header.Content-Range", "files are put whole"}))
		return
	}
	if encoding := c.GetHeader("Content-Encoding"); c.Request.Body != nil && isFSFile(c.Request) && encoding != "" && !strings.EqualFold(encoding, "identity") {
		c.Request.Body = io.NopCloser(&unpacking{r: c.Request.Body, most: service.CallOf(c.Request.Context()).BodyLimit})
	}
	if c.Request.Body != nil {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), streamKey{}, c.Request.Body))
	}
}

// streamOf returns the body of a request that is a file.
func streamOf(ctx context.Context) io.Reader {
	body, ok := ctx.Value(streamKey{}).(io.Reader)
	if !ok {
		return http.NoBody
	}
	return body
}
