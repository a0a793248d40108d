package interpreter

import (
	"io"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/workdir"
)

// The names of the main module's file. The second is used if the request has a file with the first.
// See main_module.py.
const (
	mainFile  = "main.py"
	otherMain = "__main__.py"
)

// script is the main module, and the modules beside it.
type script struct {
	name, code string
	modules    []string // top-level names of the request's modules
	taken      bool     // one of the request's files is mainFile
}

// put records a file beside the main module.
func (s *script) put(path string) {
	name, below, isDir := strings.Cut(path, "/")
	if !isDir {
		var isModule bool
		if name, isModule = strings.CutSuffix(path, ".py"); !isModule {
			return
		}
	} else if !strings.HasSuffix(below, ".py") {
		return
	}
	s.taken = s.taken || path == mainFile
	if !slices.Contains(s.modules, name) {
		s.modules = append(s.modules, name)
	}
}

// begin records the code. It returns the name of the main module's file if it is not the usual one;
// otherwise an empty name.
func (s *script) begin(code string) string {
	s.name, s.code = mainFile, code
	if s.taken {
		s.name = otherMain
		return s.name
	}
	return ""
}

// left reports whether a file is the main module's file as the worker has written it. The code did
// not make or change such a file.
func (s *script) left(t *workdir.Tree, f workdir.Found) bool {
	if f.Path != s.name || f.Stamp.Size != int64(len(s.code)) {
		return false
	}
	file, _, err := t.Open(f.Path)
	if err != nil {
		return false
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, int64(len(s.code))+1))
	return err == nil && string(content) == s.code
}
