package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/service"
)

// AddPackagesBody names packages for a live session.
type AddPackagesBody struct {
	Packages []string `json:"packages" doc:"Requirements such as requests or pandas==2.2.3. At most 100."`
}

// AddedPackagesView says where they are.
type AddedPackagesView struct {
	Packages []string `json:"packages" nullable:"false" doc:"The requirements in the form that equal ones have in common."`
	Path     string   `json:"path" doc:"Directory of the session that has them. It is the first in which the interpreter looks for modules."`
	Bytes    int64    `json:"bytes" doc:"Bytes of them on the disk of the session; 0 if they were there before."`
}

type addPackagesInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Body AddPackagesBody
}

type addPackagesOutput struct{ Body AddedPackagesView }

func (s *server) registerSessionPackages() {
	register(s, huma.Operation{
		OperationID: "addPackages", Method: http.MethodPost, Path: "/v1/sessions/{id}/packages", Tags: []string{sessionsTag},
		Summary: "Install packages for a live session",
		Description: "In the order of its executions. Its variables stay, and modules that it has imported stay as they are. The packages take room of the session's disk. " +
			"A fresh interpreter of the session needs them again.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504, 507},
	}, func(ctx context.Context, in *addPackagesInput) (*addPackagesOutput, error) {
		added, err := s.cfg.Service.AddPackages(ctx, service.CallerOf(ctx), in.ID, in.Body.Packages)
		if err != nil {
			return nil, err
		}
		return &addPackagesOutput{AddedPackagesView{Packages: added.Packages, Path: added.Path, Bytes: added.Bytes}}, nil
	})
}
