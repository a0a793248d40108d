package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// lockFile is what is read of a package-lock.json.
type lockFile struct {
	Packages map[string]lockedPackage `json:"packages"`
}

type lockedPackage struct {
	Version   string `json:"version"`
	Integrity string `json:"integrity"`
	License   string `json:"license"`
	Dev       bool   `json:"dev"`
}

const inModules = "node_modules/"

func readLock(path string) (*lockFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lock := new(lockFile)
	if err := json.Unmarshal(text, lock); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	delete(lock.Packages, "") // the sources themselves
	return lock, nil
}

// names are those of the packages that the bundle may have; those for its tests are left out.
func (l *lockFile) names() []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(l.Packages)) {
		if !l.Packages[key].Dev {
			all = append(all, strings.TrimPrefix(key, inModules))
		}
	}
	return all
}

// fetch puts the packages into a directory, unless they are there already.
func (l *lockFile) fetch(modules string) error {
	for _, name := range l.names() {
		p := l.Packages[inModules+name]
		dir := filepath.Join(modules, name)
		stamp := filepath.Join(dir, ".integrity")
		if have, err := os.ReadFile(stamp); err == nil && string(have) == p.Integrity {
			continue
		}
		archive, err := download(name, p)
		if err != nil {
			return fmt.Errorf("%s %s: %w", name, p.Version, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := unpack(archive, dir); err != nil {
			return fmt.Errorf("%s %s: %w", name, p.Version, err)
		}
		if err := os.WriteFile(stamp, []byte(p.Integrity), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// registry is where the packages come from. Their digests say which ones are right.
const registry = "https://registry.npmjs.org/"

// download returns the archive of a package, if it is the one of the lock.
func download(name string, p lockedPackage) ([]byte, error) {
	want, ok := strings.CutPrefix(p.Integrity, "sha512-")
	if !ok {
		return nil, errors.New("package-lock.json has no SHA-512 of it")
	}
	url := registry + name + "/-/" + path.Base(name) + "-" + p.Version + ".tgz"
	res, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	archive, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != want {
		return nil, fmt.Errorf("%s is not the file of package-lock.json: its SHA-512 is another one", url)
	}
	return archive, nil
}

// unpack puts the files of an archive into a directory, without the first part of their paths.
func unpack(archive []byte, dir string) error {
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	root := filepath.Clean(dir) + string(filepath.Separator)
	for in := tar.NewReader(zipped); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, ok := strings.Cut(h.Name, "/")
		target := filepath.Join(dir, name)
		if h.Typeflag != tar.TypeReg || !ok || !strings.HasPrefix(target, root) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		text, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			return err
		}
	}
}

// licences returns the text of the licences of packages.
func (l *lockFile) licences(modules string, names []string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintln(&b, "The web console of Kaa contains these packages.")
	for _, name := range names {
		p := l.Packages[inModules+name]
		fmt.Fprintf(&b, "\n\n== %s %s (%s)\n\n", name, p.Version, p.License)
		found, err := filepath.Glob(filepath.Join(modules, name, "LICEN[CS]E*"))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("%s has no file with its licence", name)
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			return nil, err
		}
		b.Write(bytes.TrimSpace(text))
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
