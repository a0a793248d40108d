package daytona

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
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
	end, err := d.service.BeginCommandSocket(service.CallerOf(r.Context()), se.ID)
	if err != nil {
		return err
	}
	defer end()
	below := strings.TrimSuffix(r.URL.Path, r.PathValue("path"))
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return d.dial(r.Context(), se, port) },
			DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: time.Duration(d.longest() * float64(time.Second)),
		},
		FlushInterval:  -1,
		Rewrite:        func(p *httputil.ProxyRequest) { toPort(p, port, "/"+r.PathValue("path")) },
		ModifyResponse: func(a *http.Response) error { return fromPort(r, a, service.CallOf(r.Context()).Prefix+below) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			fault := (*dialect.Fault)(nil)
			if !errors.As(err, &fault) {
				err = dialect.NewFault(http.StatusBadGateway, "port_failed", "what listens on port %d of the sandbox does not answer as a server of HTTP", port)
			}
			d.answer(w, r, err)
		},
	}
	proxy.ServeHTTP(w, r)
	return nil
}

// toPort makes a request one to the server in the sandbox. Keys and tokens of Kaa stay here.
func toPort(p *httputil.ProxyRequest, port int, path string) {
	p.Out.URL = &url.URL{Scheme: "http", Host: net.JoinHostPort("localhost", strconv.Itoa(port)), Path: path, RawQuery: p.In.URL.RawQuery}
	if q := p.Out.URL.Query(); q.Has(keyParameter) {
		q.Del(keyParameter)
		p.Out.URL.RawQuery = q.Encode()
	}
	p.Out.Host = p.Out.URL.Host
	for _, name := range []string{"Authorization", "X-Api-Key", tokenHeader, "Cookie"} {
		p.Out.Header.Del(name)
	}
	p.SetXForwarded()
}

// sandboxed is what keeps a page of a sandbox apart from other pages of this address, which is Kaa's: it belongs to no origin.
const sandboxed = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"

// fromPort makes the answer of the server in the sandbox harmless for the address at which it is shown.
func fromPort(r *http.Request, a *http.Response, below string) error {
	for _, name := range []string{
		"Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Service-Worker-Allowed", "Nel", "Report-To", "Reporting-Endpoints",
		"Access-Control-Allow-Credentials", "Www-Authenticate",
	} {
		a.Header.Del(name)
	}
	a.Header.Add("Content-Security-Policy", sandboxed)
	a.Header.Set("X-Content-Type-Options", "nosniff")
	if to := a.Header.Get("Location"); strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") {
		a.Header.Set("Location", strings.TrimSuffix(below, "/")+to)
	}
	if a.StatusCode == http.StatusSwitchingProtocols {
		service.CallOf(r.Context()).Upgraded()
	}
	return nil
}
