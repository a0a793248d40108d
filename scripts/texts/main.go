// Command texts writes the texts in Go files that people read, such as the messages of errors and
// the descriptions in the OpenAPI document, as pages that Vale can check. Usage:
//
//	texts directory file.go ...
//
// The page of a file is directory/file.go.md: a list with an item for each text. Each line of the file
// has perLine lines in the page, so that each of its texts is on a line of its own.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

const (
	perLine = 10
	// leastWords: shorter strings are names, formats and parts of messages.
	leastWords = 3
)

func main() {
	for _, file := range os.Args[2:] {
		if err := write(filepath.Join(os.Args[1], file+".md"), file); err != nil {
			fmt.Fprintln(os.Stderr, "texts:", err)
			os.Exit(1)
		}
	}
}

// write writes the page of a Go file.
func write(page, file string) error {
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	lines := make([]string, perLine*files.File(tree.Pos()).LineCount())
	add := func(at token.Pos, text string) {
		if len(strings.Fields(text)) < leastWords {
			return
		}
		first := perLine * (files.Position(at).Line - 1)
		for i, line := range lines[first : first+perLine] {
			if line == "" {
				lines[first+i] = "- " + strings.ReplaceAll(text, "\n", " ")
				return
			}
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BinaryExpr:
			if text, ok := joined(n); ok {
				add(n.Pos(), text)
				return false
			}
		case *ast.BasicLit:
			add(n.Pos(), textOf(n))
		}
		return true
	})
	if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
		return err
	}
	return os.WriteFile(page, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// joined returns the text of strings with + between them. A value between them is a number in it.
func joined(e ast.Expr) (text string, isText bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return textOf(e), e.Kind == token.STRING
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			left, isLeft := joined(e.X)
			right, isRight := joined(e.Y)
			return left + right, isLeft || isRight
		}
	}
	return "1", false
}

// textOf returns the text of a literal: of a tag for the OpenAPI document, the description. Other raw
// strings are markup and patterns.
func textOf(literal *ast.BasicLit) string {
	if literal.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	if literal.Value[0] == '`' {
		return reflect.StructTag(text).Get("doc")
	}
	return text
}
