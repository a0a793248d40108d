package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// PersistView is the volume of a session as callers see it.
type PersistView struct {
	Name    string     `json:"name" doc:"Name of the volume."`
	SavedAt *time.Time `json:"savedAt,omitempty" doc:"When the files that are kept were saved. Absent if none were yet, or nothing was executed in the session yet."`
	Bytes   int64      `json:"bytes,omitempty" doc:"Size of the saved files, compressed."`
	Skipped int        `json:"skipped,omitempty" doc:"Entries of the working directory that were not saved: pipes, sockets, devices, and entries that could not be read."`
	Error   string     `json:"error,omitempty" doc:"Why the last save failed; absent once one succeeds. The files of the save before are kept."`
	ErrorAt *time.Time `json:"errorAt,omitempty" doc:"When it failed."`
}

func persistView(p job.Persistence) *PersistView {
	if p.Volume == "" {
		return nil
	}
	return &PersistView{Name: p.Volume, SavedAt: optional(p.SavedAt), Bytes: p.Bytes, Skipped: p.Skipped, Error: p.Error, ErrorAt: optional(p.ErrorAt)}
}

// VolumeView is a volume as callers see it.
type VolumeView struct {
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"createdAt"`
	SavedAt   *time.Time `json:"savedAt,omitempty" doc:"When its files were saved; absent if none were yet."`
	Bytes     int64      `json:"bytes" doc:"Size of the saved files, compressed."`
	Entries   int        `json:"entries" doc:"Files, directories and links in it."`
	Skipped   int        `json:"skipped,omitempty" doc:"Entries of the working directory that were not saved: pipes, sockets, devices, and entries that could not be read."`
	SessionID string     `json:"sessionId,omitempty" doc:"The session that uses it, or that has ended and whose files are being saved."`
	ExpiresAt *time.Time `json:"expiresAt,omitempty" doc:"When it is deleted unless a session uses it; absent while one does."`
	Error     string     `json:"error,omitempty" doc:"Why the last save failed; absent once one succeeds. The files of the save before are kept."`
	ErrorAt   *time.Time `json:"errorAt,omitempty" doc:"When it failed."`
}

func volumeView(v job.Volume) VolumeView {
	return VolumeView{
		Name: v.Name, CreatedAt: v.CreatedAt, SavedAt: optional(v.SavedAt), Bytes: v.Bytes, Entries: v.Entries, Skipped: v.Skipped, SessionID: v.Session,
		ExpiresAt: optional(v.ExpiresAt), Error: v.Error, ErrorAt: optional(v.ErrorAt),
	}
}

type volumeInput struct {
	Name string `path:"name" maxLength:"128" doc:"Name of the volume."`
}

type volumeOutput struct{ Body VolumeView }

type volumesInput struct {
	Cursor string `query:"cursor" maxLength:"128" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Volumes per page."`
}

type volumesOutput struct {
	Body struct {
		Volumes    []VolumeView `json:"volumes" nullable:"false" doc:"Those of this API key, by name."`
		NextCursor string       `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

func (s *server) registerVolumes() {
	tags := []string{sessionsTag}
	const path, one = "/v1/volumes", "/v1/volumes/{name}"
	register(s, huma.Operation{
		OperationID: "listVolumes", Method: http.MethodGet, Path: path, Tags: tags,
		Summary:     "List the volumes of this API key, by name",
		Description: "A volume keeps the files of sessions that name it as persist. The first such session makes it.", Errors: []int{400, 401, 429, 503},
	}, s.listVolumes)
	register(s, huma.Operation{
		OperationID: "getVolume", Method: http.MethodGet, Path: one, Tags: tags,
		Summary: "Look a volume up", Errors: []int{400, 401, 404, 429, 503},
	}, func(ctx context.Context, in *volumeInput) (*volumeOutput, error) {
		v, err := s.cfg.Service.Volume(ctx, service.CallerOf(ctx), in.Name)
		if err != nil {
			return nil, err
		}
		return &volumeOutput{Body: volumeView(v)}, nil
	})
	register(s, huma.Operation{
		OperationID: "deleteVolume", Method: http.MethodDelete, Path: one, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a volume with its files", Description: "No session may use it.", Errors: []int{400, 401, 404, 409, 429, 503},
	}, func(ctx context.Context, in *volumeInput) (*struct{}, error) {
		return nil, s.cfg.Service.DeleteVolume(ctx, service.CallerOf(ctx), in.Name)
	})
}

func (s *server) listVolumes(ctx context.Context, in *volumesInput) (*volumesOutput, error) {
	all, next, err := s.cfg.Service.Volumes(ctx, service.CallerOf(ctx), in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := new(volumesOutput)
	out.Body.NextCursor = next
	out.Body.Volumes = make([]VolumeView, len(all))
	for i, v := range all {
		out.Body.Volumes[i] = volumeView(v)
	}
	return out, nil
}

// volumeProblem words what is wrong with a volume; nil if err is about something else.
func volumeProblem(err error) *Problem {
	var used *job.VolumeInUseError
	var full *job.VolumesFullError
	switch {
	case errors.As(err, &used) && used.Saving:
		p := newProblem(http.StatusConflict, "volume_in_use", used.Error()+"; try again in a moment")
		p.Session, p.retryAfter = used.Session, time.Second
		return p
	case errors.As(err, &used):
		p := newProblem(http.StatusConflict, "volume_in_use", used.Error()+"; use that one, or end it first (DELETE /v1/sessions/{id})")
		p.Session = used.Session
		return p
	case errors.As(err, &full):
		return tooMuch("too_many_volumes", fmt.Sprintf("there are %d volumes of this API key, the limit is %d; delete some (DELETE /v1/volumes/{name})", full.Count, full.Limit), full.Count, full.Limit, 0)
	case errors.Is(err, job.ErrNoVolume):
		return newProblem(http.StatusNotFound, "not_found", "no volume of this API key has this name; GET /v1/volumes lists them")
	}
	return nil
}
