package daytona

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandboxport"
	"github.com/kaa-run/kaa/internal/service"
)

// A preview is the server that listens on a port of a sandbox, as clients outside see it: below /preview/{id}/{port}/, with a token
// in a header, or below /signed-preview/{token}/{id}/{port}/. The token is a ticket of the caller.

const (
	preview       = "/preview/"
	signedPreview = "/signed-preview/"
	// tokenHeader brings the token of a preview.
	tokenHeader = "X-Daytona-Preview-Token" //nolint:gosec // the name of a header
	// tokenMark begins tokens: what has it is no key.
	tokenMark = "dtp_"
	// usualPreview is for how many seconds a signed preview can be used, and mostPreview for how many at most.
	usualPreview, mostPreview = 60, 24 * 3600
)

func (d *Dialect) previewRoutes() {
	d.handle("GET /api/sandbox/{id}/ports/{port}/preview-url", "getPreviewURL", d.previewURL)
	d.handle("GET /api/sandbox/{id}/ports/{port}/signed-preview-url", "getPreviewURL", d.signedPreviewURL)
	d.handle("POST /api/sandbox/{id}/ports/{port}/signed-preview-url/{token}/expire", "expirePreviewURL", d.noExpiry)
	for _, below := range []string{preview + "{id}/{port}", signedPreview + "{token}/{id}/{port}"} {
		d.handle(below, "preview", toSlash)
		d.handle(below+"/{path...}", "preview", d.preview)
	}
}

// portsOf names the ports of a sandbox as what a ticket is for, and portUntil one of them for a time.
func portsOf(session string) string { return "daytona ports " + session }

func portUntil(session, port, until string) string {
	return "daytona port " + session + " " + port + " " + until
}

// Ticket returns the token of a preview. The SDKs in browsers also use it for WebSockets to the toolbox.
func (*Dialect) Ticket(r *http.Request) (ticket, thing string) {
	if rest, ok := strings.CutPrefix(r.URL.Path, signedPreview); ok {
		parts := strings.SplitN(rest, "/", 4)
		if len(parts) < 3 {
			return "", ""
		}
		until, ticket, _ := strings.Cut(strings.TrimPrefix(parts[0], tokenMark), "-")
		if expired(until) {
			return ".", "" // no ticket: it is refused
		}
		return firstText(ticket, "."), portUntil(parts[1], parts[2], until)
	}
	token := r.Header.Get(tokenHeader)
	session, ok := strings.CutPrefix(r.URL.Path, preview)
	if !ok {
		if session, ok = strings.CutPrefix(withoutHolder(r).URL.Path, toolbox); !ok || r.Header.Get("Upgrade") == "" {
			return "", ""
		}
		token = ""
	}
	session, _, _ = strings.Cut(session, "/")
	token = firstText(token, r.URL.Query().Get(keyParameter))
	ticket, ok = strings.CutPrefix(token, tokenMark)
	if !ok {
		return "", ""
	}
	return firstText(ticket, "."), portsOf(session)
}

// previewOf finds the sandbox and the port of a request.
func (d *Dialect) previewOf(r *http.Request) (job.Session, int, error) {
	port, err := portOf(r)
	if err != nil {
		return job.Session{}, 0, err
	}
	se, err := d.find(r.Context(), r.PathValue("id"))
	return se, port, err
}

func (d *Dialect) previewURL(w http.ResponseWriter, r *http.Request) error {
	se, port, err := d.previewOf(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]any{
		"sandboxId": se.ID, "url": dialect.BaseURL(r) + preview + se.ID + "/" + strconv.Itoa(port) + "/",
		"token": tokenMark + service.CallerOf(r.Context()).Ticket(portsOf(se.ID)),
	})
}

func (d *Dialect) signedPreviewURL(w http.ResponseWriter, r *http.Request) error {
	se, port, err := d.previewOf(r)
	if err != nil {
		return err
	}
	seconds := usualPreview
	if text := r.URL.Query().Get("expiresInSeconds"); text != "" {
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 1 || seconds > mostPreview {
			return badRequest("expiresInSeconds: must be from 1 to %d", mostPreview)
		}
	}
	until, text := strconv.FormatInt(time.Now().Unix()+int64(seconds), 10), strconv.Itoa(port)
	token := tokenMark + until + "-" + service.CallerOf(r.Context()).Ticket(portUntil(se.ID, text, until))
	return answerJSON(w, http.StatusOK, map[string]any{
		"sandboxId": se.ID, "port": port, "token": token, "url": dialect.BaseURL(r) + signedPreview + token + "/" + se.ID + "/" + text + "/",
	})
}

// noExpiry says that a signed preview ends by itself only: it is stored nowhere.
func (d *Dialect) noExpiry(_ http.ResponseWriter, r *http.Request) error {
	if _, _, err := d.previewOf(r); err != nil {
		return err
	}
	return dialect.NewFault(http.StatusNotImplemented, "not_supported", "a signed preview ends at its time; ask for a shorter one with expiresInSeconds")
}

// toSlash leads a client to the address with a slash at its end, below which relative addresses of a page are.
func toSlash(w http.ResponseWriter, r *http.Request) error {
	to := url.URL{Path: service.CallOf(r.Context()).Prefix + r.URL.Path + "/", RawQuery: r.URL.RawQuery}
	http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
	return nil
}

// preview passes a request on to the port.
func (d *Dialect) preview(w http.ResponseWriter, r *http.Request) error {
	port, err := portOf(r)
	if err != nil {
		return err
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	below := strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, r.PathValue("path")), "/")
	request := sandboxport.Request{
		Port: sandboxport.Port{Service: d.service, Session: se.ID, Number: port}, Path: pathBehind(r, below), Below: service.CallOf(r.Context()).Prefix + below,
		Secrets: []string{tokenHeader}, Parameters: []string{keyParameter},
		Fail: func(w http.ResponseWriter, r *http.Request, err error) { d.answer(w, r, portFault(err)) },
	}
	request.Serve(w, r)
	return nil
}

// pathBehind is the path at the server, as the request has written it: what is behind a path of as many parts as below.
func pathBehind(r *http.Request, below string) string {
	parts := strings.SplitN(r.URL.EscapedPath(), "/", strings.Count(below, "/")+2)
	return "/" + parts[len(parts)-1]
}

// portFault words why a port does not answer; other errors stay.
func portFault(err error) error {
	closed := (*sandboxport.ClosedError)(nil)
	switch {
	case errors.As(err, &closed):
		return dialect.NewFault(http.StatusBadGateway, "port_closed", "%s", err)
	case errors.Is(err, sandboxport.ErrNoHTTP):
		return dialect.NewFault(http.StatusBadGateway, "port_failed", "%s", err)
	case errors.Is(err, sandboxport.ErrSilent):
		return dialect.NewFault(http.StatusGatewayTimeout, "port_silent", "%s", err)
	case errors.Is(err, sandboxport.ErrUpgrade):
		return badRequest("%s", err)
	}
	return err
}
