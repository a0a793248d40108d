package testenv

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// UV is the installer of packages: KAA_UV, or the one that scripts/setup has put into the checkout.
func UV(tb testing.TB) string {
	tb.Helper()
	uv := os.Getenv("KAA_UV")
	if uv == "" {
		uv = filepath.Join(checkout(tb), ".cache", "lint", "bin", "uv")
	}
	if _, err := exec.LookPath(uv); err != nil {
		tb.Fatalf("testenv: no uv: run scripts/setup, or set KAA_UV: %v", err)
	}
	return uv
}

// Wheel is a package of an Index.
type Wheel struct {
	Name, Version string
	// Tag is that of the file's name; empty for py3-none-any.
	Tag string
	// Requires are its dependencies.
	Requires []string
	// Files are its contents by path; without any it has one module of its name with its version.
	Files map[string]string
	// Yanked: its publisher has taken it back.
	Yanked bool
	// Hash, if not empty, is announced in the place of the right one.
	Hash string
	// Sdist: it is a source distribution. Without Files it cannot be built.
	Sdist bool
}

func (w Wheel) file() string {
	name := strings.ReplaceAll(w.Name, "-", "_") + "-" + w.Version
	if w.Sdist {
		return name + ".tar.gz"
	}
	if w.Tag == "" {
		return name + "-py3-none-any.whl"
	}
	return name + "-" + w.Tag + ".whl"
}

// content returns the file: a zip with the package and its description.
func (w Wheel) content(tb testing.TB) []byte {
	tb.Helper()
	if w.Sdist && len(w.Files) > 0 {
		return w.source(tb)
	}
	info := strings.ReplaceAll(w.Name, "-", "_") + "-" + w.Version + ".dist-info/"
	files := map[string]string{}
	maps.Copy(files, w.Files)
	if len(files) == 0 {
		files[strings.ReplaceAll(w.Name, "-", "_")+".py"] = fmt.Sprintf("version = %q\n", w.Version)
	}
	var about strings.Builder
	fmt.Fprintf(&about, "Metadata-Version: 2.1\nName: %s\nVersion: %s\n", w.Name, w.Version)
	for _, other := range w.Requires {
		about.WriteString("Requires-Dist: " + other + "\n")
	}
	files[info+"METADATA"] = about.String()
	tag := w.Tag
	if tag == "" {
		tag = "py3-none-any"
	}
	files[info+"WHEEL"] = "Wheel-Version: 1.0\nGenerator: kaa\nRoot-Is-Purelib: true\nTag: " + tag + "\n"
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	var record strings.Builder
	for _, path := range paths {
		record.WriteString(path + ",,\n")
	}
	files[info+"RECORD"] = record.String() + info + "RECORD,,\n"
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, path := range append(paths, info+"RECORD") {
		f, err := z.Create(path)
		if err == nil {
			_, err = f.Write([]byte(files[path]))
		}
		if err != nil {
			tb.Fatalf("testenv: write a wheel: %v", err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatalf("testenv: write a wheel: %v", err)
	}
	return out.Bytes()
}

// source returns a source distribution: a tar with a directory of its name and version.
func (w Wheel) source(tb testing.TB) []byte {
	tb.Helper()
	files := map[string]string{"PKG-INFO": fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", w.Name, w.Version)}
	maps.Copy(files, w.Files)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		name := strings.TrimSuffix(w.file(), ".tar.gz") + "/" + path
		err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[path]))})
		if err == nil {
			_, err = t.Write([]byte(files[path]))
		}
		if err != nil {
			tb.Fatalf("testenv: write a source distribution: %v", err)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		tb.Fatalf("testenv: write a source distribution: %v", err)
	}
	return out.Bytes()
}

// Index is an index of packages on loopback (PEP 503).
type Index struct {
	// URL is for KAA_PACKAGE_INDEX.
	URL string

	server *httptest.Server
	mu     sync.Mutex
	wheels []Wheel
	files  map[string][]byte
	asked  map[string]int // requests of a path
	hold   chan struct{}
	held   []string // what hold is for; empty for all
	user   string
}

// PackageIndex starts an index, which ends with the test.
func PackageIndex(tb testing.TB, wheels ...Wheel) *Index {
	tb.Helper()
	x := &Index{files: map[string][]byte{}, asked: map[string]int{}}
	x.Add(tb, wheels...)
	x.server = httptest.NewServer(x)
	tb.Cleanup(x.server.Close)
	x.URL = x.server.URL + "/simple/"
	return x
}

// Add publishes more.
func (x *Index) Add(tb testing.TB, wheels ...Wheel) {
	tb.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, w := range wheels {
		x.wheels = append(x.wheels, w)
		x.files[w.file()] = w.content(tb)
	}
}

// Protect has the index ask for a user and a password, "user:password".
func (x *Index) Protect(user string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.user = user
}

// Hold has the index not answer for pages and files of these names, or for none, until the returned function is called.
func (x *Index) Hold(names ...string) (release func()) {
	hold := make(chan struct{})
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hold, x.held = hold, names
	return sync.OnceFunc(func() { close(hold) })
}

// Asked returns how often a file, or the page of a package, was asked for.
func (x *Index) Asked(name string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked[name]
}

func (x *Index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(strings.TrimSuffix(r.URL.Path, "/"))
	x.mu.Lock()
	x.asked[name]++
	hold, user := x.hold, x.user
	if len(x.held) > 0 && !slices.Contains(x.held, name) {
		hold = nil
	}
	file, isFile := x.files[name]
	var page strings.Builder
	for _, one := range x.wheels {
		if one.Name != name {
			continue
		}
		hash, yanked := fmt.Sprintf("%x", sha256.Sum256(x.files[one.file()])), ""
		if one.Hash != "" {
			hash = one.Hash
		}
		if one.Yanked {
			yanked = ` data-yanked="it was broken"`
		}
		fmt.Fprintf(&page, "<a href=\"/files/%s#sha256=%s\"%s>%s</a>\n", one.file(), hash, yanked, html.EscapeString(one.file()))
	}
	x.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if given, password, _ := r.BasicAuth(); user != "" && given+":"+password != user {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/files/") && isFile:
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file))
	case page.Len() > 0:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body>" + page.String() + "</body></html>"))
	default:
		http.NotFound(w, r)
	}
}
