package main

import (
	"fmt"
	"strings"
)

// anyPath is what passes any request on, so no method fits it.
const anyPath = "/v1/sessions/{id}/ports/{port}/{path}"

// operation writes the method of an operation. Those whose answers are streams and WebSockets are written by hand.
func (g *generator) operation(op operation) error {
	kinds, of := op.answer()
	if strings.HasSuffix(op.path, "/ws") || op.path == anyPath || kinds["text/event-stream"] && of == nil {
		return nil
	}
	name := goName(op.OperationID)
	args, path, err := arguments(op)
	if err != nil {
		return err
	}
	query := "nil"
	if len(op.in("query")) > 0 {
		g.query(name, op)
		args, query = append(args, "params "+name+"Params"), "params.query()"
	}
	body := "nil"
	if op.RequestBody != nil {
		content := op.RequestBody.Content
		switch json, isJSON := content["application/json"]; {
		case isJSON:
			args, body = append(args, "body "+g.typeOf(name+"Body", json.Schema)), "body"
		case content["application/octet-stream"].Schema != nil:
			args, body = append(args, "body io.Reader"), `stream{body, "application/octet-stream"}`
		case content["application/x-ndjson"].Schema != nil:
			args, body = append(args, "body io.Reader"), `stream{body, "application/x-ndjson"}`
		default: // forms
			args, body = append(args, "body io.Reader", "contentType string"), "stream{body, contentType}"
		}
	}
	args = append(args, "options ...Option")
	g.put("// %s calls %s %s: %s.", name, op.method, op.path, strings.TrimSuffix(op.Summary, "."))
	head := fmt.Sprintf("func (c *Client) %s(%s)", name, strings.Join(args, ", "))
	call := fmt.Sprintf("ctx, %q, %s, %s, %s", op.method, path, query, body)
	switch {
	case of != nil:
		answer := g.typeOf(name+"Answer", of)
		g.put("%s (answer %s, err error) {\nerr = c.call(%s, &answer, options)\nreturn answer, err\n}\n", head, answer, call)
	case len(kinds) > 0:
		g.put("%s (*http.Response, error) {\nreturn c.open(%s, options)\n}\n", head, call)
	default:
		g.put("%s error {\nreturn c.call(%s, nil, options)\n}\n", head, call)
	}
	return nil
}

// arguments returns the parameters of a method for the path of an operation, and the expression of the path.
func arguments(op operation) (args []string, path string, err error) {
	args, rest := []string{"ctx context.Context"}, op.path
	var parts []string
	for {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			parts = append(parts, fmt.Sprintf("%q", before))
		}
		if !found {
			return args, strings.Join(parts, " + "), nil
		}
		name, end, closed := strings.Cut(after, "}")
		if !closed {
			return nil, "", fmt.Errorf("the path %s has no }", op.path)
		}
		args = append(args, name+" string")
		if name == "path" { // it has several segments
			parts = append(parts, "escapePath(path)")
		} else {
			parts = append(parts, "url.PathEscape("+name+")")
		}
		rest = end
	}
}

// query writes the type of the parameters of a query, and the method that encodes them.
func (g *generator) query(name string, op operation) {
	g.put("// %sParams are the parameters of the query of %s. Empty ones are left out.", name, name)
	g.put("type %sParams struct {", name)
	for _, p := range op.in("query") {
		g.comment(goName(p.Name), p.Description)
		kind := g.typeOf("", p.Schema)
		if kind == "bool" || kind == "int64" {
			kind = "*" + kind
		}
		g.put("%s %s", goName(p.Name), kind)
	}
	g.put("}\n\nfunc (p %sParams) query() url.Values {\nq := url.Values{}", name)
	for _, p := range op.in("query") {
		put := map[string]string{"boolean": "putBool", "integer": "putInt", "array": "putList"}[p.Schema.Type.name]
		switch {
		case put == "" && p.Schema.Format == "date-time":
			put = "putTime"
		case put == "":
			put = "putText"
		case put == "putList" && p.Explode:
			put = "putEach"
		}
		if put == "putText" && p.Required { // an empty one is for the server to refuse
			g.put("q.Set(%q, p.%s)", p.Name, goName(p.Name))
			continue
		}
		g.put("%s(q, %q, p.%s)", put, p.Name, goName(p.Name))
	}
	g.put("return q\n}\n")
}
