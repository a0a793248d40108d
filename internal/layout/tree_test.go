package layout

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGoVersions: the version of Go is the same wherever it is named.
func TestGoVersions(t *testing.T) {
	t.Parallel()
	toolchain := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	if toolchain == nil {
		t.Fatal("go.mod names no toolchain")
	}
	image := regexp.MustCompile(`golang:([0-9.]+)`)
	for _, file := range []string{
		"deploy/Dockerfile", "docker-compose.yml", "deploy/README.md", ".devcontainer/devcontainer.json", ".github/workflows/check.yml",
	} {
		found := image.FindAllStringSubmatch(read(t, file), -1)
		if len(found) == 0 {
			t.Errorf("%s names no image of Go", file)
		}
		for _, m := range found {
			if m[1] != toolchain[1] {
				t.Errorf("%s has Go %s, go.mod %s", file, m[1], toolchain[1])
			}
		}
	}
}

// TestStamps: Makefile and Dockerfile set the same variables of the binaries by the same build
// arguments, Compose passes these on, and the variables exist.
func TestStamps(t *testing.T) {
	t.Parallel()
	stamp := regexp.MustCompile(`-X \$\(?[Aa][Pp]{2}\)?\.(\w+)=\$\(?(BUILD_\w+)`)
	stamps := func(file string) map[string]string {
		all := map[string]string{}
		for _, m := range stamp.FindAllStringSubmatch(read(t, file), -1) {
			all[m[1]] = m[2]
		}
		return all
	}
	makefile, dockerfile := stamps("Makefile"), stamps("deploy/Dockerfile")
	if !maps.Equal(makefile, dockerfile) || len(makefile) == 0 {
		t.Errorf("Makefile sets %v, deploy/Dockerfile %v", makefile, dockerfile)
	}
	declared := regexp.MustCompile(`(?m)^var (.*) string`).FindStringSubmatch(read(t, "internal/app/version.go"))
	if declared == nil {
		t.Fatal("internal/app/version.go declares no variables for the linker")
	}
	if got, want := strings.Split(declared[1], ", "), slices.Collect(maps.Keys(makefile)); !sameSet(got, want) {
		t.Errorf("internal/app/version.go declares %v, the Makefile sets %v", got, want)
	}
	for _, argument := range makefile {
		for file, want := range map[string]string{
			"docker-compose.yml": argument + ": ${" + argument + ":-}", "Makefile": "--build-arg " + argument + "=", "deploy/README.md": "`" + argument + "`",
		} {
			if !strings.Contains(read(t, file), want) {
				t.Errorf("%s does not have %s", file, want)
			}
		}
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestTour: what the documents for newcomers point to is there.
func TestTour(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"CONTRIBUTING.md", "SECURITY.md", "docs/contributing/releasing.md", ".github/PULL_REQUEST_TEMPLATE.md"} {
		text := read(t, file)
		var paths []string
		for _, m := range regexp.MustCompile("`([\\w./-]+/[\\w./*-]*|\\w+\\.(?:md|yml|mod))`").FindAllStringSubmatch(text, -1) {
			paths = append(paths, m[1])
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			paths = append(paths, filepath.Join(filepath.Dir(file), m[1]))
		}
		for _, path := range paths {
			if slices.Contains([]string{".cache", "bin", "testing"}, strings.SplitN(path, "/", 2)[0]) {
				continue // what the build makes, or is of the standard library
			}
			if found, err := filepath.Glob(filepath.Join("../..", path)); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", file, path)
			}
		}
	}
}

// TestChangelog: each entry of CHANGELOG.md stands below one of the headings that there are for it.
func TestChangelog(t *testing.T) {
	t.Parallel()
	kinds := []string{"### Added", "### Changed", "### Deprecated", "### Removed", "### Fixed", "### Security"}
	version := regexp.MustCompile(`^## \[(Unreleased|\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$)`)
	kind := ""
	for line := range strings.SplitSeq(read(t, "CHANGELOG.md"), "\n") {
		switch {
		case strings.HasPrefix(line, "## "):
			if kind = ""; !version.MatchString(line) {
				t.Errorf("%q is neither [Unreleased] nor a version with its day", line)
			}
		case strings.HasPrefix(line, "### "):
			if kind = line; !slices.Contains(kinds, kind) {
				t.Errorf("%q is none of %v", line, kinds)
			}
		case strings.HasPrefix(line, "- ") && kind == "":
			t.Errorf("below no heading such as %q: %s", kinds[0], line)
		}
	}
}
