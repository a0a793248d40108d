package packages

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An installation reaches the index through a door of the runner: a proxy of HTTP that forwards requests to the index, and to the
// hosts of its files, and nothing else. The installer speaks HTTP to it, and the door speaks TLS to the hosts. So the installer, and
// the build scripts that it may run, get neither the password of the index nor another way out.

const (
	// mostPage bounds a page of the index, whose links the door changes.
	mostPage = 64 << 20
	// doorUser is the user of the door; each door has a password of its own, because other programs may reach one at the level basic.
	doorUser = "kaa"
	// doorHeaders is the time limit for the headers of a request, and for those of the index.
	doorHeaders = time.Minute
)

// errLongPage: a page of the index is longer than one may be.
var errLongPage = errors.New("the page is too long")

// index is what installations may reach.
type index struct {
	url       *url.URL // with the password
	hosts     []string // of files, beside the index
	transport *http.Transport
	log       *slog.Logger
}

func newIndex(address string, hosts []string, log *slog.Logger) (*index, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the index is none") // the cause would repeat it, and it may have a password
	}
	return &index{url: u, hosts: hosts, log: log, transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: doorHeaders, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}}, nil
}

// inside returns the address of the index as an installation has it.
func (x *index) inside() string {
	u := *x.url
	u.Scheme, u.User = "http", nil
	return u.String()
}

// door serves one installation.
type door struct {
	*index
	password string
	server   *http.Server
	serving  sync.WaitGroup
}

// newDoor returns a door that is not served yet. The caller closes it.
func (x *index) newDoor() *door {
	d := &door{index: x, password: rand.Text()}
	d.server = &http.Server{
		Handler: d.handler(), ReadHeaderTimeout: doorHeaders, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // what it would log is the installer's doing
	}
	return d
}

// serve begins to serve a listener, which the door owns then.
func (d *door) serve(l net.Listener) { d.serving.Go(func() { _ = d.server.Serve(l) }) }

func (d *door) close() {
	_ = d.server.Close()
	d.serving.Wait()
}

// proxy returns the address of the door for the installer, which reaches it at a host and port.
func (d *door) proxy(at string) string { return "http://" + doorUser + ":" + d.password + "@" + at }

// handler forwards what is allowed.
func (d *door) handler() http.Handler {
	forward := &httputil.ReverseProxy{
		Transport: d.transport, FlushInterval: -1, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		Rewrite:        func(r *httputil.ProxyRequest) { d.rewrite(r) },
		ModifyResponse: d.answer,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				d.log.Warn("the index of packages does not answer", slog.String("host", r.URL.Host), slog.Any("err", err))
			}
			http.Error(w, "the index does not answer", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.knows(r.Header.Get("Proxy-Authorization")) {
			w.Header().Set("Proxy-Authenticate", "Basic")
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if _, ok := d.target(r.URL); !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			d.log.Warn("an installation of packages asked for a host that is not the index's (KAA_PACKAGE_HOSTS)", slog.String("host", r.URL.Host), slog.String("method", r.Method))
			http.Error(w, "only the index of packages can be reached", http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	})
}

func (d *door) knows(authorization string) bool {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(doorUser+":"+d.password))
	return subtle.ConstantTimeCompare([]byte(authorization), []byte(want)) == 1
}

// target returns the address that stands behind one that an installation asks for.
func (x *index) target(asked *url.URL) (*url.URL, bool) {
	if asked.Scheme != "http" {
		return nil, false
	}
	u := *asked
	u.User = nil
	switch {
	case strings.EqualFold(u.Host, x.url.Host):
		u.Scheme = x.url.Scheme
	case slices.ContainsFunc(x.hosts, func(host string) bool { return strings.EqualFold(host, u.Host) }):
		u.Scheme = "https"
	default:
		return nil, false
	}
	return &u, true
}

// rewrite makes the request of the index's host out of one of the installer.
func (d *door) rewrite(r *httputil.ProxyRequest) {
	to, _ := d.target(r.In.URL)
	r.Out.URL, r.Out.Host = to, to.Host
	for _, name := range []string{"Authorization", "Cookie", "Accept-Encoding", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		r.Out.Header.Del(name)
	}
	if user := d.url.User; user != nil && strings.EqualFold(to.Host, d.url.Host) {
		password, _ := user.Password()
		r.Out.SetBasicAuth(user.Username(), password)
	}
}

// answer changes addresses that the installer is to follow to those that the door forwards.
func (d *door) answer(res *http.Response) error {
	res.Header.Del("Set-Cookie")
	if to := res.Header.Get("Location"); to != "" {
		res.Header.Set("Location", string(d.plain([]byte(to))))
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if !slices.Contains([]string{"text/html", "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html"}, kind) || res.Request.Method == http.MethodHead {
		return nil
	}
	page, err := io.ReadAll(io.LimitReader(res.Body, mostPage+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("read a page of the index: %w", err)
	}
	if len(page) > mostPage {
		return errLongPage
	}
	page = d.plain(page)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(page)), int64(len(page))
	res.Header.Set("Content-Length", strconv.Itoa(len(page)))
	return nil
}

// plain changes the addresses of the hosts that the door forwards to, so that the installer asks the door for them.
func (x *index) plain(text []byte) []byte {
	for _, host := range append([]string{x.url.Host}, x.hosts...) {
		text = bytes.ReplaceAll(text, []byte("https://"+host+"/"), []byte("http://"+host+"/"))
	}
	return text
}

// listen serves the door on the machine's loopback, and returns the address.
func (d *door) listen(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open a way to the index: %w", err)
	}
	d.serve(l)
	return l.Addr().String(), nil
}
