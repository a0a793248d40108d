package api

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

// NetworkBody names the destinations that code may reach. Their form is checked by job.Limits.
type NetworkBody struct {
	Allow []string `json:"allow" nullable:"false" maxItems:"64" doc:"Destinations that the code may reach: a name or address with a port (api.github.com:443), all names below a domain (*.example.com), or * for every public destination. :* is any port; without a port it is 80 and 443. Each must be within what the operator, and the API key, allow." example:"[\"api.github.com:443\"]"`
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
	return &job.Network{Allow: b.Allow}
}
