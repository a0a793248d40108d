package interpreter

import (
	"io"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/workdir"
)

// The names of the file that the code of an execution would be in; the second is for when
// something else has the first. See main_module.py.
const (
	mainFile  = "main.py"
	otherMain = "__main__.py"
)

// script is what the main module is, and what lies beside it.
type script struct {
	name, code string
	modules    []string // that came with the request: top-level names
	taken      bool     // one of them is mainFile
}

// put notes a file that lies beside the program.
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

// begin notes what is executed. It returns the name of the main module's file where that is
// not the usual one.
func (s *script) begin(code string) string {
	s.name, s.code = mainFile, code
	if s.taken {
		s.name = otherMain
		return s.name
	}
	return ""
}

// left reports whether a file is the main module's as the worker has written it, so that it
// is none of the code's.
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
