package egress_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestClients: programs that know nothing of Kaa reach a site by the variables that lead to the proxy, with TLS and without, and say why they
// do not reach another one. Those that are not installed are left out.
func TestClients(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("reached")) })
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	// The name in the certificate of httptest is example.com.
	names := map[string]string{"example.com": "127.0.0.1"}
	_, proxy := open(t, []string{"example.com:*"}, withNames(names))
	_, plainPort, _ := net.SplitHostPort(plain.Listener.Addr().String())
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "SSL_CERT_FILE=" + ca, "CURL_CA_BUNDLE=" + ca, "REQUESTS_CA_BUNDLE=" + ca, "NO_PROXY=localhost,127.0.0.1,::1"}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		environ = append(environ, name+"=http://"+proxy)
	}
	python := testenv.SystemPython()
	program := func(code string) []string {
		return []string{python, "-c", "import sys\nfor url in sys.argv[1:]:\n try: print(" + code + ")\n except Exception as e: print(repr(e), e)"}
	}
	clients := map[string][]string{
		"curl":   {"curl", "-sS"},
		"urllib": program("__import__('urllib.request').request.urlopen(url).read().decode()"),
	}
	if other := os.Getenv("KAA_TEST_CLIENTS_PYTHON"); other != "" { // with requests, httpx and aiohttp
		python = other
		clients["requests"] = program("__import__('requests').get(url).text")
		clients["httpx"] = program("__import__('httpx').get(url).text")
		clients["aiohttp"] = []string{python, "-c", `
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        for url in sys.argv[1:]:
            try:
                async with session.get(url) as answer: print(await answer.text())
            except Exception as e: print(repr(e))
asyncio.run(main())`}
	}
	for name, argv := range clients {
		if _, err := exec.LookPath(argv[0]); err != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
			defer cancel()
			argv := append(append([]string{}, argv...), "http://example.com:"+plainPort, "https://example.com:"+securePort, "https://other.example")
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Env = environ
			out, err := cmd.CombinedOutput()
			if text := strings.ReplaceAll(string(out), "\n", ""); !strings.HasPrefix(text, "reachedreached") || !strings.Contains(text, "403") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestGit: git clones through the proxy, over the protocol of plain files.
func TestGit(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git")
	}
	dir := t.TempDir()
	run := func(environ []string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), git, args...)
		cmd.Dir = dir
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_NOSYSTEM=1"}, environ...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return string(out) + err.Error()
		}
		return ""
	}
	for _, args := range [][]string{{"init", "-q", "from"}, {"-C", "from", "commit", "-q", "--allow-empty", "-m", "one"}, {"clone", "-q", "--bare", "from", "from.git"}, {"-C", "from.git", "update-server-info"}} {
		if failed := run(nil, args...); failed != "" {
			t.Fatal(failed)
		}
	}
	site := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(site.Close)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	_, proxy := open(t, []string{"a.example:*"})
	if failed := run([]string{"http_proxy=http://" + proxy}, "clone", "-q", "http://a.example:"+port+"/from.git", "to"); failed != "" {
		t.Error(failed)
	}
	if _, err := os.Stat(filepath.Join(dir, "to", ".git")); err != nil {
		t.Error(err)
	}
	if failed := run([]string{"http_proxy=http://" + proxy}, "clone", "-q", "http://b.example:"+port+"/from.git", "other"); !strings.Contains(failed, "403") {
		t.Errorf("a name that is not allowed: %q", failed)
	}
}
