package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app/config"
)

// TestBasePath: below a path a Kaa is what it is at the root, whether a proxy has taken the path away or not. Addresses in answers have the path
// either way.
func TestBasePath(t *testing.T) {
	t.Parallel()
	const base = "/tools/kaa"
	k := start(t, 1, "KAA_BASE_PATH="+base+"/")
	root := k.url
	for _, prefix := range []string{"", base} {
		k.url = root + prefix
		for path, want := range map[string]string{
			"/healthz": "", "/readyz": "", "/metrics": "kaa_", "/openapi.json": `"servers":[{"url":"` + base + `"}]`,
			"/docs": root + base + executePath, "/": `"docs":"` + base + `/docs"`,
		} {
			if a := k.call(http.MethodGet, path, nil); a.status != http.StatusOK || !strings.Contains(a.raw, want) {
				t.Errorf("%s%s: %d %.300s", prefix, path, a.status, a.raw)
			}
		}
		if a := k.execute(fields{"code": "print(6 * 7)"}); a.str("stdout") != "42\n" {
			t.Errorf("%q: %s", prefix, a.raw)
		}
		session := k.open(nil)
		for _, made := range []struct {
			path string
			body fields
			want string
		}{
			{"/v1/jobs", fields{"code": "1"}, base + "/v1/jobs/"},
			{sessionsPath, fields{}, base + sessionsPath + "/"},
			{sessionsPath + "/" + session + "/commands", fields{"command": "true", "background": true}, base + sessionsPath + "/" + session + "/commands/"},
			{"/jupyter/api/kernels", fields{}, base + "/jupyter/api/kernels/"},
		} {
			a := k.call(http.MethodPost, made.path, made.body)
			at := a.header.Get("Location")
			if !strings.HasPrefix(at, made.want) {
				t.Errorf("%s%s: %d, Location %q %s", prefix, made.path, a.status, at, a.raw)
				continue
			}
			there := *k
			there.url = root
			if got := there.call(http.MethodGet, at, nil); got.status != http.StatusOK {
				t.Errorf("%s: %d %s", at, got.status, got.raw)
			}
		}
		put := k.call(http.MethodPut, sessionsPath+"/"+session+"/files/a%20b", "content", "Content-Type: application/octet-stream")
		listed := k.call(http.MethodGet, sessionsPath+"/"+session+"/files", nil)
		if want := base + sessionsPath + "/" + session + "/files/a%20b"; put.str("url") != want || !strings.Contains(listed.raw, want) {
			t.Errorf("%q: the file is at %s; %s", prefix, put.raw, listed.raw)
		}
		id := k.submit(fields{"code": "open('left.txt', 'w').write('x')"})
		k.await(id)
		if a := k.call(http.MethodGet, "/v1/jobs/"+id+"/files", nil); !strings.Contains(a.raw, `"`+base+"/v1/jobs/"+id+"/files/left.txt") {
			t.Errorf("%q: %s", prefix, a.raw)
		}
		// A stream and a socket.
		if events := k.executeLive(fields{"code": "print('live')"}).res; events.StatusCode != http.StatusOK {
			t.Errorf("%q: the stream is answered with %d", prefix, events.StatusCode)
		}
		s := k.connect(session)
		s.send(fields{"type": "execute", "code": "1"})
		s.until(func(e event) bool { return e.name == "status" && e.str("state") == "completed" })
		_ = s.conn.CloseNow()
	}
	k.url = root
	for _, path := range []string{base + "x/healthz", base + base + "/healthz", "/tools/healthz", "/kaa/healthz", base + "//healthz"} {
		if a := k.call(http.MethodGet, path, nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	for _, path := range []string{"/", base, base + "/"} {
		if a := k.call(http.MethodGet, path, nil, "Accept: text/html"); a.status != http.StatusOK || !strings.Contains(a.raw, `"`+base+`/console/main`) {
			t.Errorf("%s in a browser: %d %s", path, a.status, a.raw)
		}
	}
	k.awaitLine(t, "request", fields{"path": base + "/v1/jobs", "route": "/v1/jobs"})
	// The API keeps its own paths.
	for _, op := range k.operations() {
		first, _, _ := strings.Cut(op[1][1:], "/")
		first, _, _ = strings.Cut(first, ":")
		if _, err := config.Load(config.Environment{"KAA_BASE_PATH=/" + first + "/kaa"}); err == nil {
			t.Errorf("/%s may begin a base path, and is one of the API's", first)
		}
	}
}
