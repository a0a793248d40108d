package dialect_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// kaa is an API and a runner on a real Redis, inside the test process, with all dialects.
type kaa struct {
	url string
}

// start runs a Kaa; vars are NAME=VALUE.
func start(t *testing.T, vars ...string) kaa {
	t.Helper()
	environ := append(app.Environment{
		"KAA_ADDR=127.0.0.1:0", "KAA_REDIS_URL=" + testenv.Redis(t).URL, "KAA_CONCURRENCY=2", "KAA_PYTHON=" + testenv.SystemPython(),
		"KAA_WORK_DIR=" + t.TempDir(), "KAA_BLOB_URL=file://" + t.TempDir(), "KAA_DRAIN_TIMEOUT=5s", "KAA_PLAIN=" + testenv.Plain(),
	}, vars...)
	k := kaa{}
	for _, main := range []func(context.Context, app.Process) error{app.RunAPI, app.RunRunner} {
		if addr := run(t, environ, main); addr != nil && k.url == "" {
			k.url = "http://" + addr.String()
		}
	}
	return k
}

// withTenants runs a Kaa that two tenants use, and returns a key of each.
func withTenants(t *testing.T, vars ...string) (k kaa, one, two string) {
	t.Helper()
	one, two = access.NewSecret(), access.NewSecret()
	var keys []access.Key
	for tenant, secret := range map[string]string{"acme": one, "rival": two} {
		keys = append(keys, access.Key{ID: access.Digest(secret)[:12], Tenant: tenant, SHA256: access.Digest(secret)})
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, append(vars, "KAA_API_KEYS_FILE="+path)...), one, two
}

// TestDialects uses all protocols that are here at one Kaa.
func TestDialects(t *testing.T) {
	t.Parallel()
	k, one, two := withTenants(t, "KAA_API_KEYS=one,two", "KAA_MAX_BODY_BYTES=20000", "KAA_MAX_CODE_BYTES=15000", "KAA_MAX_UPLOAD_BYTES=100000", "KAA_MAX_TIMEOUT=10m", "KAA_DEFAULT_TIMEOUT=5m")
	for name, use := range map[string]func(t *testing.T, k kaa, one, two string){
		"dify": dify, "piston": piston, "sandboxfusion": sandboxfusion, "opensandbox": openSandbox, "librechat": libreChat, "jobe": jobe, "azure": azure, "jupyter": jupyter,
		"forks of kernels": jupyterForks, "looks at kernels": jupyterLooks, "bad messages to kernels": jupyterWire,
		"clients of one kernel": jupyterOrder, "ends of kernels": jupyterEnds, "silence": silence, "many values": manyValues,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			use(t, k, one, two)
		})
	}
}

// run starts a process's code and returns once it is ready. The end of the test ends it.
func run(t *testing.T, environ app.Environment, main func(context.Context, app.Process) error) net.Addr {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done, logs := make(chan net.Addr, 1), make(chan error, 1), new(testenv.Buffer)
	p := app.Process{Environ: environ, Stdout: io.Discard, Stderr: logs, Ready: func(a net.Addr) { ready <- a }}
	p.Periods.Lease = 5 * time.Minute // what runs in the test's own process does not die
	go func() { done <- main(ctx, p) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	select {
	case addr := <-ready:
		return addr
	case err := <-done:
		done <- err
		t.Fatalf("start: %v\n%s", err, logs)
	}
	return nil
}

// answer is what a call got.
type answer struct {
	status int
	header http.Header
	raw    string
}

// field returns a field of the answer by its path, as text.
func (a answer) field(path string) string {
	var v any
	_ = json.Unmarshal([]byte(a.raw), &v)
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[name]
	}
	text, _ := v.(string)
	return text
}

// call sends a request; headers are "Name: value".
func (k kaa) call(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	res := k.send(t, method, path, body, headers...)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

// send is call for one that reads the answer itself.
func (k kaa) send(t *testing.T, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, k.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

type fields map[string]any

// bodyOf is JSON of fields.
func bodyOf(t *testing.T, f fields) string {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exchange is a request in the protocol of a dialect, and what its answer has.
type exchange struct {
	name, method, path, body string
	status                   int
	has                      []string
	hasNot                   string
}

// exchange sends requests with one key, and compares the answers.
func (k kaa) exchange(t *testing.T, keyHeader string, all []exchange) {
	t.Helper()
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = http.MethodPost
			}
			a := k.call(t, method, tt.path, tt.body, keyHeader)
			if a.status != tt.status || strings.Contains(a.raw, "about:blank") {
				t.Errorf("%d, want %d: %s", a.status, tt.status, a.raw)
			}
			for _, part := range tt.has {
				if !strings.Contains(a.raw, part) {
					t.Errorf("%s is missing in %s", part, a.raw)
				}
			}
			if tt.hasNot != "" && strings.Contains(a.raw, tt.hasNot) {
				t.Errorf("%s is in %s", tt.hasNot, a.raw)
			}
		})
	}
}
