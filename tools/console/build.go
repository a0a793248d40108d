package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// options are common to the page and to the script of the frame.
func options(web, modules string) api.BuildOptions {
	return api.BuildOptions{
		AbsWorkingDir: web, NodePaths: []string{modules}, Bundle: true, Outdir: "out", Write: false, Metafile: true,
		Format: api.FormatESModule, Platform: api.PlatformBrowser, Target: api.ES2022, Charset: api.CharsetUTF8,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LegalComments: api.LegalCommentsNone,
		JSX: api.JSXAutomatic, JSXImportSource: "preact", LogLevel: api.LogLevelWarning,
		Loader: map[string]api.Loader{".py": api.LoaderText},
		Define: map[string]string{"process.env.NODE_ENV": `"production"`},
	}
}

// build returns the files of dist, without their compression.
func build(web, modules string, lock *lockFile) (map[string][]byte, error) {
	page := options(web, modules)
	page.EntryPoints = []string{"src/main.tsx"}
	page.Splitting = true
	page.EntryNames, page.ChunkNames = "[name]-[hash]", "[name]-[hash]"
	built := api.Build(page)
	if len(built.Errors) > 0 {
		return nil, errors.New("esbuild refuses the page")
	}
	files := map[string][]byte{}
	for _, f := range built.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	inner := options(web, modules)
	inner.EntryPoints, inner.Format = []string{"src/frame.ts"}, api.FormatIIFE
	script := api.Build(inner)
	if len(script.Errors) > 0 {
		return nil, errors.New("esbuild refuses the frame")
	}
	var err error
	if files["frame.html"], err = filled(web, "frame.html", "/*script*/", string(bytes.TrimSpace(script.OutputFiles[0].Contents))); err != nil {
		return nil, err
	}
	main, err := outputsOf(built.Metafile, "src/main.tsx")
	if err != nil {
		return nil, err
	}
	if files["index.html"], err = filled(web, "index.html", "main.js", main.script, "main.css", main.style, "<!--preload-->", main.preloads()); err != nil {
		return nil, err
	}
	if files["licences.txt"], err = lock.licences(modules, packagesIn(built.Metafile, lock)); err != nil {
		return nil, err
	}
	files["manifest.json"], err = manifest(web, files)
	return files, err
}

// filled returns a document in whose text placeholders are replaced.
func filled(web, name string, pairs ...string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(web, name))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(string(text), pairs[i]) != 1 {
			return nil, fmt.Errorf("%s does not have %q once", name, pairs[i])
		}
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(text))), nil
}

// entry is what a document loads at first.
type entry struct {
	script, style string
	imports       []string
}

func (e entry) preloads() string {
	var b strings.Builder
	for _, name := range e.imports {
		fmt.Fprintf(&b, "<link rel=\"modulepreload\" href=\"console/%s\">", name)
	}
	return b.String()
}

// metafile is what is read of what esbuild says about its outputs.
type metafile struct {
	Inputs  map[string]json.RawMessage
	Outputs map[string]struct {
		EntryPoint string
		CSSBundle  string `json:"cssBundle"`
		Imports    []struct{ Path, Kind string }
	}
}

func outputsOf(text, source string) (entry, error) {
	var meta metafile
	if err := json.Unmarshal([]byte(text), &meta); err != nil {
		return entry{}, err
	}
	for path, out := range meta.Outputs {
		if out.EntryPoint != source {
			continue
		}
		e := entry{script: filepath.Base(path), style: filepath.Base(out.CSSBundle)}
		for _, i := range out.Imports {
			if i.Kind == "import-statement" {
				e.imports = append(e.imports, filepath.Base(i.Path))
			}
		}
		return e, nil
	}
	return entry{}, fmt.Errorf("%s gives no output", source)
}

// packagesIn are the packages of which something is in the bundle.
func packagesIn(text string, lock *lockFile) []string {
	var meta metafile
	_ = json.Unmarshal([]byte(text), &meta) // outputsOf has done it
	var used []string
	for _, name := range lock.names() {
		for path := range meta.Inputs {
			if strings.Contains(path, inModules+name+"/") {
				used = append(used, name)
				break
			}
		}
	}
	return used
}

// manifest has the digests of the sources. A test compares these with the sources, so that it finds a bundle that was not made again.
func manifest(web string, files map[string][]byte) ([]byte, error) {
	sources := map[string]string{}
	err := filepath.WalkDir(web, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(web, path)
		sum := sha256.Sum256(text)
		sources[filepath.ToSlash(name)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(struct {
		Files   []string          `json:"files"`
		Sources map[string]string `json:"sources"`
	}{slices.Sorted(maps.Keys(files)), sources}, "", "  ")
	return append(text, '\n'), err
}
