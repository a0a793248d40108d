package interpreter_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// clientsPython is an interpreter with pip, and whether it has requests, httpx and aiohttp: KAA_TEST_CLIENTS_PYTHON (scripts/check-long).
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
		if !all && slices.Contains([]string{"requests", "httpx", "aiohttp"}, client) {
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

// TestNetworkClients: pip, git, curl, urllib and, where they are installed, requests, httpx and aiohttp work in a sandbox with nothing but its
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
