package packages

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestDoor: an installation reaches the index and the hosts of its files, without the password of the index, and nothing else.
func TestDoor(t *testing.T) {
	t.Parallel()
	var asked []string
	files := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, "files "+r.URL.Path+" "+r.Header.Get("Authorization")+r.Header.Get("Cookie"))
		fmt.Fprint(w, "file")
	}))
	defer files.Close()
	fileHost := files.Listener.Addr().String()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, "index "+r.URL.Path+" "+user+":"+password)
		w.Header().Set("Set-Cookie", "secret=1")
		switch r.URL.Path {
		case "/simple/moved/":
			http.Redirect(w, r, "https://"+r.Host+"/simple/alpha/", http.StatusFound)
		case "/simple/alpha/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, `<a href="https://%s/a.whl">a</a> <a href="https://elsewhere.example/b.whl">b</a>`, fileHost)
		default:
			fmt.Fprint(w, "https://"+fileHost+"/ stays")
		}
	}))
	defer server.Close()
	x, err := newIndex(strings.Replace(server.URL, "https://", "https://user:hunter2@", 1)+"/simple/", []string{fileHost}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	x.transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	defer x.transport.CloseIdleConnections()
	d := x.newDoor()
	defer d.close()
	at, err := d.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := server.Listener.Addr().String()
	if x.inside() != "http://"+host+"/simple/" {
		t.Errorf("an installation has the index %s", x.inside())
	}
	for _, tt := range []struct {
		method, url, password string
		status                int
		says, asked           string
	}{
		{"GET", "http://" + host + "/simple/alpha/", d.password, 200, `<a href="http://` + fileHost + `/a.whl">a</a> <a href="https://elsewhere.example/b.whl">b</a>`, "index /simple/alpha/ user:hunter2"},
		{"GET", "http://" + host + "/simple/moved/", d.password, 302, "http://" + host + "/simple/alpha/", "index /simple/moved/ user:hunter2"},
		{"GET", "http://" + host + "/other", d.password, 200, "https://" + fileHost + "/ stays", "index /other user:hunter2"},
		{"GET", "http://" + fileHost + "/a.whl", d.password, 200, "file", "files /a.whl "},
		{"GET", "http://" + host + "/simple/alpha/", "wrong", 407, "", ""},
		{"POST", "http://" + host + "/simple/alpha/", d.password, 403, "only the index", ""},
		{"GET", "http://elsewhere.example/", d.password, 403, "only the index", ""},
		{"GET", "http://169.254.169.254/latest/meta-data/", d.password, 403, "only the index", ""},
		{"GET", "http://" + strings.Split(host, ":")[0] + ":1/", d.password, 403, "only the index", ""},
		{"GET", "http://" + host + "@elsewhere.example/", d.password, 403, "only the index", ""},
	} {
		asked = nil
		proxy, _ := url.Parse("http://" + doorUser + ":" + tt.password + "@" + at)
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Basic of the installation")
		req.Header.Set("Cookie", "of=installation")
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tt.url, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.Body.Close() != nil {
			t.Fatal(err)
		}
		if res.StatusCode != tt.status || !strings.Contains(string(body)+res.Header.Get("Location"), tt.says) || strings.Join(asked, "") != tt.asked || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s %s: %d %s %v, asked %q", tt.method, tt.url, res.StatusCode, body, res.Header, asked)
		}
	}
	if status := tunnel(t, at, d.password, host); status != http.StatusForbidden {
		t.Errorf("a tunnel to the index: %d", status)
	}
}

// tunnel asks a door for a connection of TCP.
func tunnel(t *testing.T, at, password, host string) int {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: host}, Host: host, Header: http.Header{}}
	req.SetBasicAuth(doorUser, password)
	req.Header.Set("Proxy-Authorization", req.Header.Get("Authorization"))
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
