package api

import (
	"fmt"
	"html"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// renderDocs fills docs.html. It does without html/template: a binary with a template in it
// keeps every exported method of every type, since a template could call any of them, and
// is twice as large.
func renderDocs(spec *huma.OpenAPI) string {
	var nav, operations strings.Builder
	for _, op := range docsOperations(spec) {
		put(&nav, `<a href="#%s"><code><span class="method">%s</span> %s</code> %s</a>`, op.ID, op.Method, op.Path, op.Summary)
		renderOperation(&operations, spec.Components.Schemas, op)
	}
	return strings.NewReplacer(
		"{{title}}", html.EscapeString(spec.Info.Title), "{{version}}", html.EscapeString(spec.Info.Version),
		"{{description}}", html.EscapeString(spec.Info.Description),
		"{{nav}}", nav.String(), "{{operations}}", operations.String(),
	).Replace(docsFrame)
}

// put adds HTML whose values are escaped.
func put(b *strings.Builder, format string, values ...string) {
	escaped := make([]any, len(values))
	for i, v := range values {
		escaped[i] = html.EscapeString(v)
	}
	fmt.Fprintf(b, format, escaped...)
}

func renderOperation(b *strings.Builder, schemas huma.Registry, op docsOperation) {
	put(b, "\n<h2 id=\"%s\"><code><span class=\"method\">%s</span> %s</code></h2>\n<p>%s. %s</p>\n",
		op.ID, op.Method, op.Path, op.Summary, op.Description)
	if len(op.Parameters) > 0 {
		b.WriteString("<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>\n")
		for _, p := range op.Parameters {
			put(b, "<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>", p.Name, p.In, p.Description)
		}
		b.WriteString("</table>\n")
	}
	if op.Request != nil {
		b.WriteString("<table><tr><th>Request field</th><th>Type</th><th>Meaning</th></tr>\n")
		for _, f := range fieldsOf(schemas, op.Request) {
			required := ""
			if f.Required {
				required = " (required)"
			}
			put(b, "<tr><td><code>%s</code>%s</td><td>%s</td><td>%s</td></tr>", f.Name, required, f.Type, f.Description)
		}
		b.WriteString("</table>\n")
	}
	for _, r := range op.Responses {
		if r.Schema == nil {
			put(b, "<p><strong>%s</strong> %s: a problem</p>\n", r.Status, r.Description)
			continue
		}
		put(b, "<details><summary><strong>%s</strong> %s</summary><table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>\n",
			r.Status, r.Description)
		for _, f := range fieldsOf(schemas, r.Schema) {
			put(b, "<tr><td><code>%s</code></td><td>%s</td><td>%s", f.Name, f.Type, f.Description)
			for _, value := range f.Enum {
				put(b, " <code>%s</code>", fmt.Sprint(value))
			}
			b.WriteString("</td></tr>")
		}
		b.WriteString("</table></details>\n")
	}
}
