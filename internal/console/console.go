// Package console serves the web console: one page, its scripts and styles, and the frame in which
// results of untrusted code are shown. All of it is embedded, so it needs no network and no file. The
// page calls the API as every client does. This package knows nothing of jobs and keys.
//
// The files in dist are made from web by scripts/console; docs/architecture/console.md says how.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
)

// dist has the files as they are sent: compressed.
//
//go:embed dist/*.gz
var dist embed.FS

// Names of the documents among the files.
const (
	index = "index.html"
	frame = "frame.html"
)

// Folder is the path below which the files are, besides the page itself at /.
const Folder = "/console/"

// Console is the handler of the page at / and of the files in Folder.
type Console struct {
	files map[string]file
}

// file is a file as it is sent.
type file struct {
	gzipped []byte
	etag    string
	kind    string
	policy  string // its Content-Security-Policy; empty if it is no document
}

// New reads the embedded files. base is the path below which browsers find the page; empty for the root, or for any path that a proxy
// takes away from requests.
func New(base string) (*Console, error) {
	entries, err := dist.ReadDir("dist")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c := &Console{files: make(map[string]file, len(entries))}
	for _, e := range entries {
		text, err := dist.ReadFile("dist/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		name := strings.TrimSuffix(e.Name(), ".gz")
		if name == index && base != "" {
			if text, err = rooted(base, text); err != nil {
				return nil, err
			}
		}
		sum := sha256.Sum256(text)
		f := file{gzipped: text, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, kind: kindOf(name)}
		switch name {
		case index:
			f.policy = pagePolicy
		case frame:
			if f.policy, err = framePolicy(text); err != nil {
				return nil, err
			}
		}
		c.files[name] = f
	}
	if c.files[index].gzipped == nil || c.files[frame].gzipped == nil {
		return nil, fmt.Errorf("console: %s or %s is missing", index, frame)
	}
	return c, nil
}

// rooted returns the page with absolute addresses of its files. The relative ones that it has need a slash at the end of its own address,
// and proxies also send requests here whose path has none.
func rooted(base string, gzipped []byte) ([]byte, error) {
	text, err := unpacked(gzipped)
	if err != nil {
		return nil, err
	}
	relative := `"` + strings.TrimPrefix(Folder, "/")
	text = bytes.ReplaceAll(text, []byte(relative), []byte(`"`+base+Folder))
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return out.Bytes(), nil
}

// pagePolicy lets the page load what this host serves, and nothing else. Styles are files, or sheets that scripts construct.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; " +
	"frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"

// framePolicy is for the document that shows HTML of untrusted code. Its own script is the only one that runs, it loads
// nothing, and it is of no origin, also if it is opened by itself. Tables have style attributes, which can do no harm there.
func framePolicy(gzipped []byte) (string, error) {
	text, err := unpacked(gzipped)
	if err != nil {
		return "", err
	}
	_, rest, _ := bytes.Cut(text, []byte("<script>"))
	script, _, found := bytes.Cut(rest, []byte("</script>"))
	if !found {
		return "", fmt.Errorf("console: %s has no script", frame)
	}
	sum := sha256.Sum256(script)
	return "sandbox allow-scripts; default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'", nil
}

func unpacked(gzipped []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(gzipped))
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return text, nil
}

func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}

// ServeHTTP answers GET and HEAD at / and below Folder.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, below := strings.CutPrefix(r.URL.Path, Folder)
	switch {
	case r.URL.Path == "/":
		name = index
	case r.URL.Path == strings.TrimSuffix(Folder, "/"):
		redirect(w, "./")
		return
	case below && (name == "" || name == index):
		redirect(w, "../") // the page finds the API and its files relative to its own address
		return
	}
	f, ok := c.files[name]
	if !ok {
		http.Error(w, "the console has no such file; reload the page", http.StatusNotFound)
		return
	}
	f.serve(w, r, name)
}

// redirect leads to a path relative to that of the request. http.Redirect would make it absolute, without a prefix that a proxy has removed.
func redirect(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusFound)
}

func (f file) serve(w http.ResponseWriter, r *http.Request, name string) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-DNS-Prefetch-Control", "off")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Add("Vary", "Accept-Encoding")
	h.Set("ETag", f.etag)
	switch {
	case f.policy != "":
		h.Set("Content-Security-Policy", f.policy)
		h.Set("Cache-Control", "no-cache") // it names the others
	case hashed(name):
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		h.Set("Cache-Control", "no-cache")
	}
	if name == index {
		h.Add("Vary", "Accept")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	text := f.gzipped
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
	} else {
		var err error
		if text, err = unpacked(f.gzipped); err != nil { // it was made so by the build
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_, _ = w.Write(text) // the client may have gone
}

// hashed reports whether the name of a file has the digest of its content, so that it never changes: main-ABCDEFGH.js.
func hashed(name string) bool {
	stem, ext, _ := strings.Cut(name, ".")
	at := strings.LastIndexByte(stem, '-')
	return (ext == "js" || ext == "css") && at > 0 && len(stem)-at == 9
}
