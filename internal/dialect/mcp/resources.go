package mcp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Resources are what results of tools link to: kaa://jobs/ID/output, kaa://jobs/ID/pictures/N and kaa://jobs/ID/files/PATH.
const (
	resourceScheme = "kaa"
	resourceHost   = "jobs"
	// mostResource bounds the bytes of one that are answered.
	mostResource = 16 << 20
)

func outputURI(id string) string { return resourceScheme + "://" + resourceHost + "/" + id + "/output" }

func imageURI(id string, n int) string {
	return resourceScheme + "://" + resourceHost + "/" + id + "/pictures/" + strconv.Itoa(n)
}

func fileURI(id, path string) string {
	u := url.URL{Scheme: resourceScheme, Host: resourceHost, Path: "/" + id + "/files/" + path}
	return u.String()
}

func (d *Dialect) addResources() {
	for _, t := range []sdk.ResourceTemplate{
		{Name: "output", Title: "Output of an execution", Description: "All that an execution has put out, as far as Kaa keeps it.", MIMEType: "text/plain", URITemplate: "kaa://jobs/{id}/output"},
		{Name: "picture", Title: "Picture of an execution", Description: "A picture that an execution has shown, counted from 1.", URITemplate: "kaa://jobs/{id}/pictures/{n}"},
		{Name: "file", Title: "File of an execution", Description: "A file that a run in a fresh sandbox has left.", URITemplate: "kaa://jobs/{id}/files/{+path}"},
	} {
		d.server.AddResourceTemplate(&t, d.readResource)
	}
}

func (d *Dialect) readResource(ctx context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	u, err := url.Parse(r.Params.URI)
	if err != nil || u.Scheme != resourceScheme || u.Host != resourceHost {
		return nil, sdk.ResourceNotFoundError(r.Params.URI)
	}
	id, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	kind, name, _ := strings.Cut(rest, "/")
	if !service.IsID(id) {
		return nil, sdk.ResourceNotFoundError(r.Params.URI)
	}
	var content *sdk.ResourceContents
	switch kind {
	case "files":
		content, err = d.fileContent(ctx, id, name)
	default:
		content, err = d.resultContent(ctx, id, kind, name)
	}
	if err != nil {
		text := words(err)
		if text == "" {
			text = "internal error"
			d.Log.ErrorContext(ctx, "mcp: unexpected error of a resource", slog.Any("err", err))
		}
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: text}
	}
	if content == nil {
		return nil, sdk.ResourceNotFoundError(r.Params.URI)
	}
	content.URI = r.Params.URI
	return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{content}}, nil
}

// resultContent is a part of the result of a job; nil if it has no such part.
func (d *Dialect) resultContent(ctx context.Context, id, kind, name string) (*sdk.ResourceContents, error) {
	j, err := d.Service.Job(ctx, service.CallerOf(ctx), id, 0)
	if err != nil || j.Result == nil {
		return nil, err
	}
	switch kind {
	case "output":
		r := rendering{job: j}
		at := ""
		for _, o := range j.Result.Outputs {
			if o.Value == nil || !r.isImage(*o.Value) {
				r.output(o, &at)
			}
		}
		text := r.text.String()
		return &sdk.ResourceContents{MIMEType: "text/plain", Text: text}, holdText(ctx, text)
	case "pictures":
		n, err := strconv.Atoi(name)
		if err != nil {
			return nil, nil //nolint:nilerr // there is no such part
		}
		content := picture(j.Result.Outputs, n)
		if content == nil {
			return nil, nil
		}
		return content, holdAnswer(ctx, int64(len(content.Blob)))
	}
	return nil, nil
}

// picture is the nth picture that was shown.
func picture(outputs []job.Output, n int) *sdk.ResourceContents {
	for _, o := range outputs {
		if o.Value == nil {
			continue
		}
		for _, kind := range pictureKinds() {
			if data, ok := bytesOf(*o.Value, kind); ok {
				if n--; n == 0 {
					return &sdk.ResourceContents{MIMEType: kind, Blob: data}
				}
				break
			}
		}
	}
	return nil
}

// fileContent is a file that a job has left.
func (d *Dialect) fileContent(ctx context.Context, id, path string) (*sdk.ResourceContents, error) {
	_, f, content, err := d.Service.OpenFile(ctx, service.CallerOf(ctx), id, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	if f.Size > mostResource {
		return nil, &argumentError{fmt.Sprintf("the file has %d bytes, and a resource may have %d; fetch it with GET /v1/jobs/%s/files/", f.Size, int64(mostResource), id)}
	}
	if err := holdAnswer(ctx, f.Size); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(content, mostResource))
	if err != nil {
		return nil, fmt.Errorf("read a file of a job: %w", err)
	}
	if text := string(data); utf8.ValidString(text) && encoded(text) <= mostGrowth*f.Size {
		return &sdk.ResourceContents{MIMEType: f.Type, Text: text}, nil
	}
	return &sdk.ResourceContents{MIMEType: f.Type, Blob: data}, nil
}
