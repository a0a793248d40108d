package interpreter_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// wheel is a package of one module, as an index serves it.
func wheel(t *testing.T) []byte {
	t.Helper()
	files := [][2]string{
		{"toy.py", "answer = 42\n"},
		{"toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"},
		{"toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
	}
	record := ""
	for _, f := range files {
		sum := sha256.Sum256([]byte(f[1]))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", f[0], base64.RawURLEncoding.EncodeToString(sum[:]), len(f[1]))
	}
	files = append(files, [2]string{"toy-1.0.dist-info/RECORD", record + "toy-1.0.dist-info/RECORD,,\n"})
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(f[1]))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// repository is a directory with a bare repository of git, from.git, that a server of files can serve.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q", "from"}, {"-C", "from", "commit", "-q", "--allow-empty", "-m", "one"}, {"clone", "-q", "--bare", "from", "from.git"}, {"-C", "from.git", "update-server-info"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_NOSYSTEM=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// programs fetch from the URL that is their argument. Each prints its name and what it reached.
const programs = `
import asyncio, os, subprocess, sys, urllib.request
url, refused = sys.argv[1:3]

def run(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, HOME=os.getcwd()))
    return done.stdout.strip() if done.returncode == 0 else "failed: " + done.stdout

def python(url):
    return urllib.request.urlopen(url).read().decode()

def requests(url):
    import requests
    return requests.get(url).text if url != refused else requests.get(url).raise_for_status()

def httpx(url):
    import httpx
    return httpx.get(url).raise_for_status().text

def aiohttp(url):
    import aiohttp
    async def get():
        async with aiohttp.ClientSession(trust_env=True, raise_for_status=True) as session:
            async with session.get(url) as answer: return await answer.text()
    return asyncio.run(get())

def curl(url): return run("curl", "-sS", "-f", url)

def git(url):
    text = run("git", "clone", "-q", url + "/git/from.git", "clone-" + str(url == refused))
    return text or run("git", "-C", "clone-False", "log", "--format=format:reached")

def pip(url):
    text = run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-cache-dir", "--retries", "0", "--target", "installed",
               *(("--trusted-host", "a.example") if url.startswith("http:") else ()), "--index-url", url + "/simple", "toy")
    sys.path.insert(0, "installed")
    if "installed" not in text and not os.path.exists("installed/toy.py"): return "failed: " + text
    import toy
    return "reached" if toy.answer == 42 else "another toy"

for client in python, requests, httpx, aiohttp, curl, git, pip:
    for at in url, refused:
        if client is pip and at == refused: continue
        try: print(client.__name__, client(at), flush=True)
        except ImportError: print(client.__name__, "missing")
        except Exception as error: print(client.__name__, "failed:", type(error).__name__, error, flush=True)
`

// clientsSite serves what the programs ask for.
func clientsSite(t *testing.T) http.Handler {
	t.Helper()
	toy, mux := wheel(t), http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("reached")) })
	mux.HandleFunc("/simple/toy/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<a href="/toy-1.0-py3-none-any.whl#sha256=%x">toy</a>`, sha256.Sum256(toy))
	})
	mux.HandleFunc("/toy-1.0-py3-none-any.whl", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(toy) })
	mux.Handle("/git/", http.StripPrefix("/git/", http.FileServer(http.Dir(repository(t)))))
	return mux
}

// clientsPython is an interpreter, and whether it has pip, requests, httpx and aiohttp: KAA_TEST_CLIENTS_PYTHON (scripts/check-long).
func clientsPython(t *testing.T) (string, bool) {
	t.Helper()
	if python := os.Getenv("KAA_TEST_CLIENTS_PYTHON"); python != "" {
		return python, true
	}
	return testenv.LibsBarePython(t), false
}

// checkClients looks at what the programs printed: each client that is there reached its URL, and was told why it did not reach the other one.
func checkClients(t *testing.T, res job.Result, all bool) {
	t.Helper()
	for _, client := range []string{"python", "curl", "git", "pip", "requests", "httpx", "aiohttp"} {
		if !all && slices.Contains([]string{"pip", "requests", "httpx", "aiohttp"}, client) {
			continue
		}
		if _, err := exec.LookPath(client); err != nil && (client == "curl" || client == "git") {
			continue
		}
		if !strings.Contains(res.Stdout, client+" reached\n") {
			t.Errorf("%s did not reach what it may", client)
		}
		if client != "pip" && !strings.Contains(res.Stdout, client+" failed: ") {
			t.Errorf("%s reached what it may not", client)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s%s", outcome(res), res.Stdout, res.Stderr)
	}
}

// TestNetworkClients: git, curl, urllib and, where they are installed, pip, requests, httpx and aiohttp work in a sandbox with nothing but its
// variables, and do not reach what is not allowed.
func TestNetworkClients(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	python, all := clientsPython(t)
	site := httptest.NewServer(clientsSite(t))
	t.Cleanup(site.Close)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	pool := newPool(t, withEgress, func(c *interpreter.Config) {
		c.Size, c.Runtimes = 1, []interpreter.RuntimeConfig{{Python: filepath.Clean(python)}}
	})
	res := execute(t, pool, job.Spec{Code: programs, Argv: []string{"http://a.example:" + port, "http://b.example:" + port}, Timeout: ample, Network: &job.Network{Allow: []string{"a.example:" + port}}})
	checkClients(t, res, all)
}

// secureSite serves with a certificate for a.example that the returned roots trust.
func secureSite(t *testing.T, handler http.Handler) (port string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "site"}, DNSNames: []string{"a.example"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	text, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(certificate)
	site := httptest.NewUnstartedServer(handler)
	site.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{text}, PrivateKey: key}}}
	site.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	site.StartTLS()
	t.Cleanup(site.Close)
	_, port, _ = net.SplitHostPort(site.Listener.Addr().String())
	return port, roots
}

// withInterception is withEgress whose proxies look into requests, with the secret "site" for a.example.
func withInterception(roots *x509.CertPool) func(*interpreter.Config) {
	return func(c *interpreter.Config) {
		all, _ := job.ParseNetworkRules([]string{"*:*"})
		to, _ := job.ParseNetworkRules([]string{"a.example:*"})
		gate := egress.New(egress.Config{
			Allow: all, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Connections: 8, Intercept: true, Roots: roots,
			Secrets: job.NewNetworkSecrets(job.NetworkSecret{Name: "site", Value: "Bearer s3cret-s3cret-s3cret", To: to, Tenants: []string{"*"}}),
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			},
		})
		c.Egress = func(l net.Listener, n job.Network, id string) interpreter.Proxy { return gate.Open(l, n, id) }
	}
}

// TestInterceptedClients: the same programs work where the proxy looks into TLS, because the sandbox's variables have them trust it.
func TestInterceptedClients(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	python, all := clientsPython(t)
	port, roots := secureSite(t, clientsSite(t))
	pool := newPool(t, withInterception(roots), func(c *interpreter.Config) {
		c.Size, c.Runtimes = 1, []interpreter.RuntimeConfig{{Python: filepath.Clean(python)}}
	})
	network := &job.Network{HTTP: []job.HTTPRule{{To: "a.example:" + port, Methods: []string{"GET"}}}}
	checkClients(t, execute(t, pool, job.Spec{Code: programs, Argv: []string{"https://a.example:" + port, "https://b.example:" + port}, Timeout: ample, Network: network}), all)
}

// TestInterception: code uses a secret that it does not find anywhere in its sandbox, within the rules, also in a session, its commands, and
// its forks. It cannot change what others trust.
func TestInterception(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	port, roots := secureSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte("reached"))
	}))
	pool := newPool(t, withInterception(roots))
	s := session(t, pool, job.SessionSpec{Quota: job.Quota{MemoryBytes: 128 << 20}, Network: &job.Network{HTTP: []job.HTTPRule{{
		To: "a.example:" + port, Methods: []string{"GET"}, Paths: []string{"/ok/*"}, Headers: map[string]job.HeaderValue{"Authorization": {Secret: "site"}},
	}}}})
	ok, other := "https://a.example:"+port+"/ok/x", "https://a.example:"+port+"/other"
	code := fmt.Sprintf("import sys\nsys.argv[1:] = [%q, %q]\n", ok, other) + fetch
	want := "reached\n403 Kaa: network.http has no rule for such a request at a.example:" + port + " (GET)\n"
	says(t, s, code, want)
	says(t, s, "import subprocess\nprint(subprocess.run([sys.executable, '-c', "+fmt.Sprintf("%q", fetch)+", sys.argv[1]], stdout=-1).stdout.decode(), end='')", "reached\n")
	says(t, fork(t, s, 1)[0], code, want)
	says(t, s, `
import glob, os, ssl
path = os.environ["SSL_CERT_FILE"]
with open(path) as file: trusted = file.read()
usual = [p for p in ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem") if os.path.exists(p)]
print(trusted.count("BEGIN CERTIFICATE") == 1 + (open(usual[0]).read().count("BEGIN CERTIFICATE") if usual else 0))
for change in lambda: open(path, "a"), lambda: os.unlink(path), lambda: os.rename(path, path + "2"), lambda: open(os.path.dirname(path) + "/x", "w"), lambda: os.chmod(path, 0o666):
    try: change(); print("changed")
    except OSError: pass
found = [name for name in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline") + glob.glob("/tmp/**", recursive=True) + glob.glob("/etc/kaa/*") if os.path.isfile(name) and b"s3cret" in open(name, "rb").read()]
print(found, [k for k, v in os.environ.items() if "s3cret" in v])
`, "True\n[] []\n")
	// One without such rules trusts what is usual.
	res := execute(t, pool, job.Spec{Code: "import os\nprint(os.environ.get('SSL_CERT_FILE'), os.listdir('/etc/kaa'))", Network: &job.Network{Allow: []string{"a.example"}}})
	if res.Stdout != "None []\n" {
		t.Errorf("%s\n%s", outcome(res), res.Stdout)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(seen, ",") != strings.TrimSuffix(strings.Repeat("Bearer s3cret-s3cret-s3cret,", 3), ",") {
		t.Errorf("the site saw %q", seen)
	}
}
