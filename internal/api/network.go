package api

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

// NetworkBody names the destinations that code may reach. Their form is checked by job.Limits.
type NetworkBody struct {
	Allow []string       `json:"allow,omitempty" nullable:"false" maxItems:"64" doc:"Destinations that the code may reach: a name or address with a port (api.github.com:443), all names below a domain (*.example.com), or * for every public destination. :* is any port; without a port it is 80 and 443. Each must be within what the operator, and the API key, allow. Required unless http is given." example:"[\"api.github.com:443\"]"`
	HTTP  []HTTPRuleBody `json:"http,omitempty" nullable:"false" maxItems:"64" doc:"Rules for requests of HTTP and HTTPS. Where there are some for a destination, they alone count there. The operator allows them (KAA_EGRESS_INTERCEPT)."`
}

// HTTPRuleBody allows some requests at some destinations.
type HTTPRuleBody struct {
	To      string                     `json:"to" doc:"Destinations, in the form of allow." example:"api.github.com:443"`
	Methods []string                   `json:"methods,omitempty" nullable:"false" maxItems:"16" doc:"Methods. Default: all but CONNECT and TRACE." example:"[\"GET\"]"`
	Paths   []string                   `json:"paths,omitempty" nullable:"false" maxItems:"32" doc:"Paths. A * between slashes stands for one part, and at the end for all that follows. The query does not count. Default: all." example:"[\"/repos/acme/*\"]"`
	Headers map[string]HeaderValueBody `json:"headers,omitempty" doc:"Headers that are put into the request outside of the sandbox, in place of the code's own. At most 8."`
}

// HeaderValueBody is the value of a header.
type HeaderValueBody struct {
	Secret string `json:"secret" doc:"Name of a secret of the operator (KAA_SECRETS_FILE), which the code does not see." example:"github"`
}

// TransformSchema lets null stand for absent.
func (NetworkBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

func (b *NetworkBody) request() *job.Network {
	if b == nil {
		return nil
	}
	n := &job.Network{Allow: b.Allow}
	for _, r := range b.HTTP {
		rule := job.HTTPRule{To: r.To, Methods: r.Methods, Paths: r.Paths}
		if len(r.Headers) > 0 {
			rule.Headers = make(map[string]job.HeaderValue, len(r.Headers))
		}
		for name, value := range r.Headers {
			rule.Headers[name] = job.HeaderValue{Secret: value.Secret}
		}
		n.HTTP = append(n.HTTP, rule)
	}
	return n
}
