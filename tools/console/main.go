// Command console makes internal/console/dist from internal/console/web, with esbuild. The packages that web/package-lock.json
// names come from npm's registry, are compared with the digests there, and are kept in .cache/console. Node.js is not needed.
//
//	console [-check] REPOSITORY
//
// With -check nothing is written: it fails if dist is not what the sources give.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	check := flag.Bool("check", false, "compare, and write nothing")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: console [-check] REPOSITORY")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

func run(repository string, check bool) error {
	root, err := filepath.Abs(repository)
	if err != nil {
		return err
	}
	web, dist := filepath.Join(root, "internal/console/web"), filepath.Join(root, "internal/console/dist")
	lock, err := readLock(filepath.Join(web, "package-lock.json"))
	if err != nil {
		return err
	}
	modules := filepath.Join(root, ".cache/console/node_modules")
	if err := lock.fetch(modules); err != nil {
		return err
	}
	files, err := build(web, modules, lock)
	if err != nil {
		return err
	}
	if check {
		return compare(dist, files)
	}
	return write(dist, files)
}
