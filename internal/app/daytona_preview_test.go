package app_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// signedAs is the signature that the SDKs make.
func signedAs(key, method, path, expires string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("v1:files:" + method + ":" + path + ":" + expires))
	return "v1_" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// hostileServer answers with what it was asked, and with headers that would harm the address at which its pages are shown.
const hostileServer = `
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.path + '\n' + str(self.headers)).encode()
        self.send_response(302 if self.path == '/moved' else 200)
        for name, value in ('Set-Cookie', 'a=b'), ('Clear-Site-Data', '"*"'), ('Service-Worker-Allowed', '/'), ('Content-Security-Policy', "default-src *"), ('Location', '/to'), ('Content-Length', str(len(body))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        data = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data[::-1])
    def log_message(self, *a): pass
http.server.HTTPServer(('127.0.0.1', 8000), H).serve_forever()
`

// preview tries the server on a port of a sandbox from outside.
func (k *kaa) preview(t *testing.T, id, box, other string) {
	t.Helper()
	const one, two = "Authorization: Bearer one", "Authorization: Bearer two"
	k.call(http.MethodPost, box+"/files/upload-v2?path=server.py", hostileServer, one)
	k.call(http.MethodPost, box+"/process/execute", `{"command": "python3 server.py >/dev/null 2>&1 &"}`, one)
	ports := "/daytona/api/sandbox/" + id + "/ports/8000"
	link := k.call(http.MethodGet, ports+"/preview-url", "", one)
	at, token := strings.TrimPrefix(link.str("url"), k.url), "X-Daytona-Preview-Token: "+link.str("token")
	var a answer
	testenv.Eventually(t, "the server to listen", func() bool {
		a = k.call(http.MethodGet, at+"a/b?c=d", "", token, "Cookie: e=f", "X-Api-Key: secret")
		return a.status != http.StatusBadGateway
	})
	if a.status != http.StatusOK || !strings.HasPrefix(a.raw, "/a/b?c=d\n") || strings.Contains(a.raw, "secret") || strings.Contains(a.raw, "e=f") || strings.Contains(a.raw, link.str("token")) {
		t.Errorf("%d %s", a.status, a.raw)
	}
	for name, want := range map[string]string{"Set-Cookie": "", "Clear-Site-Data": "", "Service-Worker-Allowed": "", "X-Content-Type-Options": "nosniff"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if all := a.header.Values("Content-Security-Policy"); len(all) != 2 || !strings.HasPrefix(all[1], "sandbox allow-scripts") || strings.Contains(all[1], "same-origin") {
		t.Errorf("%q", all)
	}
	if a := k.call(http.MethodPost, at, "abc", token); a.raw != "cba" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	signed := k.call(http.MethodGet, ports+"/signed-preview-url?expiresInSeconds=600", "", one)
	below := strings.TrimPrefix(signed.str("url"), k.url)
	if a := k.call(http.MethodGet, below+"x", ""); a.status != http.StatusOK || !strings.HasPrefix(a.raw, "/x\n") {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, at+"moved", "", token); !strings.HasPrefix(a.raw, "/to\n") {
		t.Errorf("led elsewhere: %d %s", a.status, a.raw)
	}
	foreign := k.call(http.MethodGet, "/daytona/api/sandbox/"+other+"/ports/8000/preview-url", "", two)
	for name, tt := range map[string]struct {
		path, header string
		status       int
	}{
		"no token":                      {at, "A: b", http.StatusUnauthorized},
		"a token that is none":          {at, "X-Daytona-Preview-Token: dtp_x", http.StatusUnauthorized},
		"an empty token":                {at, "X-Daytona-Preview-Token: dtp_", http.StatusUnauthorized},
		"the token of another sandbox":  {at, "X-Daytona-Preview-Token: " + foreign.str("token"), http.StatusUnauthorized},
		"another sandbox":               {strings.Replace(at, id, other, 1), token, http.StatusUnauthorized},
		"another tenant":                {at, two, http.StatusNotFound},
		"the owner":                     {at, one, http.StatusOK},
		"a token elsewhere":             {box + "/files?path=.", token, http.StatusUnauthorized},
		"a port where nothing is":       {strings.Replace(at, "8000", "8001", 1), token, http.StatusBadGateway},
		"no port":                       {strings.Replace(at, "8000", "x", 1), token, http.StatusBadRequest},
		"a signed preview of a port":    {strings.Replace(below, "/8000/", "/8001/", 1), "A: b", http.StatusUnauthorized},
		"a signed preview of a sandbox": {strings.Replace(below, id, other, 1), "A: b", http.StatusUnauthorized},
		"a later end":                   {strings.Replace(below, "dtp_1", "dtp_2", 1), "A: b", http.StatusUnauthorized},
		"an end that was":               {strings.Replace(below, "dtp_1", "dtp_0", 1), "A: b", http.StatusUnauthorized},
		"a signed preview of nothing":   {"/daytona/signed-preview/dtp_/" + id + "/8000/", "A: b", http.StatusUnauthorized},
	} {
		if a := k.call(http.MethodGet, tt.path, "", tt.header); a.status != tt.status {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}
