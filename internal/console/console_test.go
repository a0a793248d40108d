package console_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/console"
)

// get answers a request of a browser.
func get(t *testing.T, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return getBelow(t, "", path, headers...)
}

// getBelow answers a request of a browser that has found the page below a path.
func getBelow(t *testing.T, base, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	c, err := console.New(base)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// TestCurrent: the files of dist were made from the sources that are there.
func TestCurrent(t *testing.T) {
	t.Parallel()
	const advice = "run scripts/console"
	var manifest struct {
		Files   []string
		Sources map[string]string
	}
	text, err := os.ReadFile("dist/manifest.json")
	if err != nil {
		t.Fatalf("%v: %s", err, advice)
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir("web", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found++
		sum := sha256.Sum256(source)
		name := filepath.ToSlash(strings.TrimPrefix(path, "web"+string(filepath.Separator)))
		if manifest.Sources[name] != hex.EncodeToString(sum[:]) {
			t.Errorf("dist was not made from this %s: %s", path, advice)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != len(manifest.Sources) {
		t.Errorf("there are %d sources, dist was made from %d: %s", found, len(manifest.Sources), advice)
	}
	stored, err := filepath.Glob("dist/*.gz")
	if err != nil || len(stored) != len(manifest.Files) {
		t.Errorf("dist has %d files, its manifest %d (%v): %s", len(stored), len(manifest.Files), err, advice)
	}
}

// TestPolicy: the page loads from its own host only and has nothing inline, and the frame for HTML of results has no origin.
func TestPolicy(t *testing.T) {
	t.Parallel()
	page := get(t, "/")
	policy := page.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy of the page has no %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("the policy of the page is too wide: %s", policy)
	}
	if regexp.MustCompile(`<style|style=|<script>| on\w+=|https?://[^w]`).Match(page.Body.Bytes()) {
		t.Errorf("the page has something inline, or of another host: %s", page.Body)
	}
	frame := get(t, "/console/frame.html").Header().Get("Content-Security-Policy")
	for _, want := range []string{"sandbox allow-scripts;", "default-src 'none'", "script-src 'sha256-", "frame-ancestors 'self'"} {
		if !strings.Contains(frame, want) {
			t.Errorf("the policy of the frame has no %s: %s", want, frame)
		}
	}
	if strings.Contains(frame, "allow-same-origin") || strings.Contains(frame, "'self' ") || strings.Contains(frame, "http") {
		t.Errorf("the policy of the frame is too wide: %s", frame)
	}
}

// TestFiles: what the page names is there, is small, is sent as it is stored to those who take gzip, and stays in the browser.
func TestFiles(t *testing.T) {
	t.Parallel()
	page := get(t, "/", "Accept-Encoding", "gzip, br")
	if page.Header().Get("Content-Encoding") != "gzip" || page.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("the page has %v", page.Header())
	}
	first := page.Body.Len()
	plain := get(t, "/").Body.String()
	if got := unpacked(t, page.Body.Bytes()); got != plain {
		t.Errorf("the page differs without gzip: %s", plain)
	}
	names := regexp.MustCompile(`"(console/[^"]+)"`).FindAllStringSubmatch(plain, -1)
	if len(names) < 2 {
		t.Fatalf("the page names %v", names)
	}
	for _, m := range names {
		res := get(t, "/"+m[1], "Accept-Encoding", "gzip")
		if res.Code != http.StatusOK || !strings.Contains(res.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", m[1], res.Code, res.Header())
		}
		first += res.Body.Len()
		if again := get(t, "/"+m[1], "If-None-Match", res.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s with its ETag: %d", m[1], again.Code)
		}
	}
	if first > 300_000 {
		t.Errorf("the first page takes %d bytes, more than 300 kB", first)
	}
	if missing := get(t, "/console/main-AAAAAAAA.js"); missing.Code != http.StatusNotFound || strings.Contains(missing.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("a file of another version: %d %v", missing.Code, missing.Header())
	}
}

func unpacked(t *testing.T, text []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// TestRelative: addresses near the page lead to it without naming the root, which a proxy may have below a prefix.
func TestRelative(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/console": "./", "/console/": "../", "/console/index.html": "../"} {
		if res := get(t, path); res.Code != http.StatusFound || res.Header().Get("Location") != want {
			t.Errorf("%s: %d %q", path, res.Code, res.Header().Get("Location"))
		}
	}
}

// TestBelow: below a base path the page names its files from the root on, so it also works at the path without a slash.
func TestBelow(t *testing.T) {
	t.Parallel()
	plain, below := get(t, "/"), getBelow(t, "/tools/kaa", "/", "Accept-Encoding", "gzip")
	text := unpacked(t, below.Body.Bytes())
	if want := strings.ReplaceAll(plain.Body.String(), `"console/`, `"/tools/kaa/console/`); text != want || strings.Count(text, `"/tools/kaa/console/`) < 2 {
		t.Errorf("the page is %s", text)
	}
	if below.Header().Get("ETag") == plain.Header().Get("ETag") {
		t.Error("two pages have one ETag")
	}
}

// TestLicences: each package that the binaries have is named with its licence, and none of these asks for more than to be named.
func TestLicences(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`(?m)^== \S+ \S+ \((.+)\)$`).FindAllStringSubmatch(get(t, "/console/licences.txt").Body.String(), -1)
	if len(named) < 3 {
		t.Fatalf("only %d packages are named", len(named))
	}
	for _, m := range named {
		if !slices.Contains([]string{"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC"}, m[1]) {
			t.Errorf("%s: decide whether its licence suits", m[0])
		}
	}
}
