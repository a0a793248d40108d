package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/luascript"
)

// TestScriptCalls: each script is called, with the names of its header. Literals that are not
// written in a call, such as those of groups, fit a script, too.
func TestScriptCalls(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string]script{}
	var fits [][]string
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".lua")
		if name == "common" {
			continue
		}
		s, _ := luascript.Parse(name, readLua(name))
		scripts[name] = s
		fits = append(fits, s.Keys, s.Args, s.Each)
	}
	called := map[string]bool{}
	inspectPackage(t, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if kind := kindOf(n); kind != "" && !slices.ContainsFunc(fits, func(names []string) bool { return slices.Equal(names, namesIn(n)) }) {
				t.Errorf("no script has the %s %v", kind, namesIn(n))
			}
		case *ast.CallExpr:
			name := scriptIn(n)
			if name == "" {
				return
			}
			called[name] = true
			for _, arg := range n.Args {
				literal, ok := arg.(*ast.CompositeLit)
				if !ok {
					continue
				}
				want := map[string][]string{"keys": scripts[name].Keys, "args": scripts[name].Args}
				if kind := kindOf(literal); !slices.Equal(namesIn(literal), want[kind]) {
					t.Errorf("%s gets the %s %v, its header has %v", name, kind, namesIn(literal), want[kind])
				}
			}
		}
	})
	for name := range scripts {
		if !called[name] {
			t.Errorf("%s is not called", name)
		}
	}
}

// inspectPackage calls look with each node of this package's files.
func inspectPackage(t *testing.T, look func(ast.Node)) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			look(n)
			return true
		})
	}
}

// scriptIn is the name of the script s.scripts.<name> that a call executes or binds.
func scriptIn(call *ast.CallExpr) string {
	candidates := call.Args
	if method, ok := call.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Bind" {
		candidates = []ast.Expr{method.X}
	}
	for _, e := range candidates {
		script, ok := e.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		if all, ok := script.X.(*ast.SelectorExpr); ok && all.Sel.Name == "scripts" {
			return script.Sel.Name
		}
	}
	return ""
}

// kindOf is keys or args for a literal of these types.
func kindOf(literal *ast.CompositeLit) string {
	if kind, ok := literal.Type.(*ast.Ident); ok && (kind.Name == "keys" || kind.Name == "args") {
		return kind.Name
	}
	return ""
}

// namesIn returns the names in a literal of keys or args.
func namesIn(literal *ast.CompositeLit) []string {
	var names []string
	for _, e := range literal.Elts {
		switch e := e.(type) {
		case *ast.CompositeLit:
			name, _ := strconv.Unquote(e.Elts[0].(*ast.BasicLit).Value) //nolint:forcetypeassert // names are literals
			names = append(names, name)
		case *ast.CallExpr: // s.tombstone()
			names = append(names, e.Fun.(*ast.SelectorExpr).Sel.Name) //nolint:forcetypeassert // as above
		}
	}
	return names
}

// TestNeeded: a script gets the functions that it calls, those that these call, and the lines between
// functions.
func TestNeeded(t *testing.T) {
	t.Parallel()
	const one, two, three, lines = "local function one(a) return a end\n", "local function two(a)\n  return one(a)\nend\n",
		"local function three(a)\n  return a\nend\n", "-- three(a) is not called here.\nlocal MOST = 3\n"
	lib := cut("-- begins\n" + one + lines + two + three)
	for body, want := range map[string]string{
		"return MOST":                lines,
		"return one(1)":              one + lines,
		"return (two(1))":            one + lines + two,
		"return three(someone(1))":   lines + three,
		"return one_(1) + .three(1)": lines + three,
	} {
		if got := lib.needed(body); got != "-- begins\n"+want {
			t.Errorf("%s\n%s", body, got)
		}
	}
}
