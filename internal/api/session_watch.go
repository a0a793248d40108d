package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type fsWatchInput struct {
	ID        string `path:"id" maxLength:"64" doc:"Id of the session."`
	Path      string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"Absolute path of a directory, such as /work/a or /tmp/b; or a path below the working directory."`
	Recursive bool   `query:"recursive" doc:"Whether directories below it are watched, too, also those that are made later."`
}

// registerSessionWatch adds the watch of directories.
func (s *server) registerSessionWatch() {
	register(s, huma.Operation{
		OperationID: "watchSessionDirectory", Method: http.MethodGet, Path: fsPath + "fs/watch", Tags: []string{sessionsTag, fsTag},
		Summary: "Watch a directory of a session",
		Description: "Server-sent events: create, write, remove, rename and chmod for entries of the directory, from the beginning of the answer on. " +
			"overflow stands for some that were too many to be reported. The last event is end, with a reason: the directory is gone, or the session has ended.",
		Responses: map[string]*huma.Response{"200": {Description: "The events.", Content: map[string]*huma.MediaType{eventStream: eventStreamType()}}},
		Errors:    []int{400, 401, 403, 404, 409, 410, 429, 502, 503, 504},
	}, s.watchDirectory)
}

func (s *server) watchDirectory(ctx context.Context, in *fsWatchInput) (*eventsOutput, error) {
	w, err := s.cfg.Service.WatchFiles(ctx, service.CallerOf(ctx), in.ID, job.FSRequest{Path: []byte(in.Path), Recursive: in.Recursive})
	if err != nil {
		return nil, err
	}
	return &eventsOutput{Status: http.StatusOK, Body: func(hc huma.Context) {
		defer w.Close(hc.Context())
		s.logStream(hc.Context(), in.ID, s.serveEvents(hc, in.ID, w))
	}}, nil
}
