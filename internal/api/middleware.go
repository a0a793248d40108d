package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

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

// uncached keeps answers out of caches: they are for one caller, and a cache in between may not
// know by which header callers are told apart. A handler may say otherwise.
func uncached(c *gin.Context) { c.Header("Cache-Control", "no-store") }

// recovered turns a panic into a logged 500.
func recovered(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v) // net/http's own way to drop a connection
			}
			log.ErrorContext(c.Request.Context(), "panic in handler", slog.Any("panic", v),
				slog.String("route", c.FullPath()), slog.String("stack", string(debug.Stack())))
			if !c.Writer.Written() {
				abort(c, newProblem(http.StatusInternalServerError, "internal", "internal error; it has been logged"))
			}
		}()
		c.Next()
	}
}

// holding counts what a request holds of memory for large results, until it is answered.
func holding(memory *job.Memory) gin.HandlerFunc {
	return func(c *gin.Context) {
		if memory == nil {
			return
		}
		held := memory.For(service.CallerOf(c.Request.Context()).ID())
		defer held.Release()
		c.Request = c.Request.WithContext(held.In(c.Request.Context()))
		c.Next()
	}
}

// authenticated lets requests with one of the keys pass; with no keys, all. Who has one of
// the admin keys may see what is everybody's.
func authenticated(keys, adminKeys []string) gin.HandlerFunc {
	sums := make([][sha256.Size]byte, 0, len(keys)+len(adminKeys))
	for _, k := range slices.Concat(keys, adminKeys) {
		sums = append(sums, sha256.Sum256([]byte(k)))
	}
	return func(c *gin.Context) {
		if len(sums) == 0 || isPublic(c.Request.URL.Path) {
			return
		}
		given := sha256.Sum256([]byte(keyOf(c.Request)))
		// Every key is compared, and digests have one length: the time taken says
		// nothing about any of them.
		match, admin := 0, 0
		for i := range sums {
			same := subtle.ConstantTimeCompare(given[:], sums[i][:])
			match |= same
			if i >= len(keys) {
				admin |= same
			}
		}
		if match == 0 {
			c.Header("WWW-Authenticate", `Bearer realm="kaa"`)
			abort(c, newProblem(http.StatusUnauthorized, "unauthorized",
				"send a valid API key as Authorization: Bearer <key> or X-API-Key: <key>"))
			return
		}
		service.CallOf(c.Request.Context()).Caller = service.Caller{Key: hex.EncodeToString(given[:]), All: admin != 0}
	}
}

// isPublic names what needs no key: what probes and readers of the docs ask for.
func isPublic(path string) bool {
	switch path {
	case "/", "/healthz", "/readyz", "/docs", "/openapi.json", "/openapi.yaml":
		return true
	}
	return false
}

func keyOf(r *http.Request) string {
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

// buffered reads the whole body first, bounded in size and time, and refuses what
// is not UTF-8, which encoding/json would silently change. A file as a body is left to
// its handler.
func buffered(cfg *Config) gin.HandlerFunc {
	return func(c *gin.Context) {
		in, ok := c.Request.Body.(*incoming)
		if !ok {
			return // there is none
		}
		if coding := c.GetHeader("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			abort(c, newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body without Content-Encoding"))
			return
		}
		most := cfg.MaxBodyBytes
		if isRaw(c) {
			most = cfg.MaxFileBytes
		}
		if in.length > most {
			abort(c, bodyProblem(&http.MaxBytesError{Limit: most}, cfg.BodyTimeout))
			return
		}
		limited := http.MaxBytesReader(c.Writer, in, most)
		if isRaw(c) {
			c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), streamKey{}, limited))
			return
		}
		ctx := c.Request.Context()
		body := &body{held: cfg.Service.HoldBody(service.CallerOf(ctx))}
		defer body.held.Release()
		whole, err := io.ReadAll(body.held.Reader(limited))
		busy := (*service.BusyError)(nil)
		switch {
		case errors.As(err, &busy):
			abort(c, busyProblem(busy))
		case err != nil:
			abort(c, bodyProblem(err, cfg.BodyTimeout))
		case !isForm(c) && !utf8.Valid(whole):
			abort(c, badRequest(fmt.Sprintf("the request body is not valid UTF-8 (first wrong byte at offset %d); encode it as UTF-8",
				firstInvalid(whole))))
		default:
			body.text.Reset(whole)
			c.Request = c.Request.WithContext(context.WithValue(ctx, bodyKey{}, body))
			c.Request.Body = io.NopCloser(&body.text)
			whole = nil //nolint:ineffassign // or it would be held until the answer
			c.Next()
		}
	}
}

// body is the text of a request, and what it takes of memory.
type body struct {
	held *service.Held
	text bytes.Reader
}

// bodyKey is the context key of a request's body.
type bodyKey struct{}

// bodyProblem words why a body could not be read to its end.
func bodyProblem(err error, patience time.Duration) *Problem {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge, "body_too_large",
			fmt.Sprintf("the request body is larger than %d bytes; send less", large.Limit))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return newProblem(http.StatusRequestTimeout, "body_timeout",
			fmt.Sprintf("nothing of the request body arrived for %s, or less than %d bytes a second", patience, slowestBody))
	}
	return badRequest("the request body ended early; send as many bytes as Content-Length says")
}

// streamKey is the context key of a body that is a file.
type streamKey struct{}

// streamOf returns the body of a request that is a file.
func streamOf(ctx context.Context) io.Reader {
	body, ok := ctx.Value(streamKey{}).(io.Reader)
	if !ok {
		return http.NoBody
	}
	return body
}

func firstInvalid(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(b)
}
