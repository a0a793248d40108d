package api

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const gzipType = "application/gzip"

// archiveLine is a line of an archive: one of the results, which has no place in a stream.
type archiveLine struct {
	BatchResultLine
	Cursor string `json:"cursor,omitempty"`
}

// WriteBatchResult writes a result of a batch as a line of its archive.
func WriteBatchResult(w io.Writer, batch string, r job.BatchResult) error {
	line := archiveLine{BatchResultLine: resultLine(batch, r, "")}
	if isLarge(line.Result) {
		return encode(w, line)
	}
	return marshal(w, line)
}

func (s *server) registerArchive(tags []string) {
	// Generators of clients know this type as one of bytes, and not that of gzip.
	content := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	register(s, huma.Operation{
		OperationID: "getBatchArchive", Method: http.MethodGet, Path: batchesPath + "/{id}/archive", Tags: tags,
		Summary: "Download the archive of a batch",
		Description: "All results as NDJSON, compressed by gzip: a BatchResultLine without cursor for each job and each refused line, in the order of submission. " +
			"The batch has to be sent with archive. Ranges can be asked for.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The archive.", Content: content},
			"206": {Description: "The part of it that Range asks for.", Content: content},
			"304": {Description: "It is what If-None-Match names."},
		},
		Errors: []int{400, 401, 404, 409, 410, 412, 416, 429, 503},
	}, s.getArchive)
}

func (s *server) getArchive(ctx context.Context, in *batchIDInput) (*huma.StreamResponse, error) {
	b, content, err := s.cfg.Service.OpenArchive(ctx, service.CallerOf(ctx), in.ID)
	if errors.Is(err, job.ErrNoFile) {
		return nil, newProblem(http.StatusGone, "gone", "the archive has been deleted from the blob store")
	}
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer func() { _ = content.Close() }()
		serveFile(ctx, job.File{Path: b.ID + ".ndjson.gz", Size: b.Archive.Bytes, Type: gzipType}, b.Archive.Token, b.FinishedAt, content)
	}}, nil
}
