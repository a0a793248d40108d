package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// plain is the file of dist that is not compressed: it is for tests, and not in binaries.
const plain = "manifest.json"

// stored returns the name of a file in dist.
func stored(name string) string {
	if name == plain {
		return name
	}
	return name + ".gz"
}

// write replaces what dist has. Files whose content stays are left as they are: another compressor gives other bytes.
func write(dist string, files map[string][]byte) error {
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	for _, e := range old {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(name string) bool { return stored(name) == e.Name() }) {
			if err := os.Remove(filepath.Join(dist, e.Name())); err != nil {
				return err
			}
		}
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dist, stored(name))
		if have, err := read(path); err == nil && bytes.Equal(have, files[name]) {
			if info, err := os.Stat(path); err == nil && name != plain {
				total += int(info.Size())
			}
			continue
		}
		text := files[name]
		if name != plain {
			if text, err = compressed(text); err != nil {
				return err
			}
			total += len(text)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
		fmt.Printf("%-32s %7d bytes, %7d as sent\n", name, len(files[name]), len(text))
	}
	fmt.Printf("%d files, %d bytes in binaries\n", len(files)-1, total)
	return nil
}

func compressed(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// read returns the content of a file of dist.
func read(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil || filepath.Ext(path) != ".gz" {
		return text, err
	}
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// compare fails unless dist has exactly these files.
func compare(dist string, files map[string][]byte) error {
	const advice = "run scripts/console"
	have, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	if len(have) != len(files) {
		return fmt.Errorf("%s has %d files, the sources give %d: %s", dist, len(have), len(files), advice)
	}
	for name, want := range files {
		got, err := read(filepath.Join(dist, stored(name)))
		if err != nil {
			return fmt.Errorf("%w: %s", err, advice)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s is not what the sources give: %s", name, advice)
		}
	}
	return nil
}
