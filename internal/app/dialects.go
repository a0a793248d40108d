package app

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/dialect/azure"
	"github.com/kaa-run/kaa/internal/dialect/daytona"
	"github.com/kaa-run/kaa/internal/dialect/dify"
	"github.com/kaa-run/kaa/internal/dialect/e2b"
	"github.com/kaa-run/kaa/internal/dialect/jobe"
	"github.com/kaa-run/kaa/internal/dialect/jupyter"
	"github.com/kaa-run/kaa/internal/dialect/librechat"
	"github.com/kaa-run/kaa/internal/dialect/mcp"
	"github.com/kaa-run/kaa/internal/dialect/opensandbox"
	"github.com/kaa-run/kaa/internal/dialect/piston"
	"github.com/kaa-run/kaa/internal/dialect/sandboxfusion"
	"github.com/kaa-run/kaa/internal/door"
)

// Dialect is a protocol besides Kaa's own that an API process speaks at /<Name> and at all paths below it.
type Dialect struct {
	Name string
	New  func(dialect.Parts) door.Dialect
	// Owns reports whether a request for another path is the dialect's, too; nil if none is.
	Owns func(*http.Request) bool
}

// builtDialects are the protocols that the binaries have. docs/dialects/README.md says how to add one.
func builtDialects() []Dialect {
	return []Dialect{
		built("e2b", e2b.New, e2b.Owns),
		built("daytona", daytona.New, nil),
		built("jupyter", jupyter.New, nil),
		built("opensandbox", opensandbox.New, nil),
		built("sandboxfusion", sandboxfusion.New, nil),
		built("dify", dify.New, nil),
		built("piston", piston.New, nil),
		built("librechat", librechat.New, nil),
		built("jobe", jobe.New, nil),
		built("azure", azure.New, nil),
		built("mcp", mcp.New, mcp.Owns),
	}
}

// built is a dialect with its constructor, which returns a type of its own: dialects do not know the door.
func built[D door.Dialect](name string, create func(dialect.Parts) D, owns func(*http.Request) bool) Dialect {
	return Dialect{Name: name, New: func(p dialect.Parts) door.Dialect { return create(p) }, Owns: owns}
}

// noDialects is the value of KAA_DIALECTS with which only Kaa's own is spoken.
const noDialects = "none"

// chosenDialects are those of all that KAA_DIALECTS names; all if it is empty.
func chosenDialects(all []Dialect, names []string) ([]Dialect, error) {
	if len(names) == 0 {
		return all, nil
	}
	if len(names) == 1 && names[0] == noDialects {
		return nil, nil
	}
	known := make([]string, len(all))
	for i, d := range all {
		known[i] = d.Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("KAA_DIALECTS: %q is not a dialect; name some of %s, or %s", name, strings.Join(known, ", "), noDialects)
		}
	}
	return slices.DeleteFunc(all, func(d Dialect) bool { return !slices.Contains(names, d.Name) }), nil
}

// scopesOfTokens are the usual scopes as tokens of the identity provider have them.
func (s *shared) scopesOfTokens() []string {
	var all []string
	for _, scope := range access.UsualScopes() {
		all = append(all, s.cfg.ScopesPrefix+string(scope))
	}
	return all
}

// route is where the requests for a dialect go.
type route struct {
	prefix string
	below  http.Handler // what has the prefix
	owns   func(*http.Request) bool
	beside http.Handler // what it owns beside that
}

// mounted puts further dialects beside Kaa's own, all behind one door.
func mounted(entrance *door.Door, own door.Dialect, parts dialect.Parts, others []Dialect) http.Handler {
	handler := entrance.Handle(own)
	if len(others) == 0 {
		return handler
	}
	routes := make([]route, len(others))
	for i, d := range others {
		speaker := d.New(parts)
		routes[i] = route{prefix: "/" + d.Name, below: entrance.HandleAt(door.Mount{Name: d.Name, Prefix: "/" + d.Name}, speaker), owns: d.Owns}
		if d.Owns != nil {
			routes[i].beside = entrance.HandleAt(door.Mount{Name: d.Name}, speaker)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") { // the most frequent ones are Kaa's own
			handler.ServeHTTP(w, r)
			return
		}
		for i := range routes {
			if rest, ok := strings.CutPrefix(r.URL.Path, routes[i].prefix); ok && (rest == "" || rest[0] == '/') {
				routes[i].below.ServeHTTP(w, r)
				return
			}
		}
		for i := range routes {
			if routes[i].owns != nil && routes[i].owns(r) {
				routes[i].beside.ServeHTTP(w, r)
				return
			}
		}
		handler.ServeHTTP(w, r)
	})
}
