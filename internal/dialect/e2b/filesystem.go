package e2b

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The messages of filesystem.Filesystem.
type (
	pathRequest struct {
		Path string `json:"path" pb:"1"`
	}
	listRequest struct {
		Path  string `json:"path" pb:"1"`
		Depth int    `json:"depth" pb:"2"`
	}
	moveRequest struct {
		Source      string `json:"source" pb:"1"`
		Destination string `json:"destination" pb:"2"`
	}
	entryInfo struct {
		Name        string    `json:"name" pb:"1"`
		Type        fileType  `json:"type" pb:"2"`
		Path        string    `json:"path" pb:"3"`
		Size        int64     `json:"size,string" pb:"4"`
		Mode        uint32    `json:"mode" pb:"5"`
		Permissions string    `json:"permissions" pb:"6"`
		Owner       string    `json:"owner" pb:"7"`
		Group       string    `json:"group" pb:"8"`
		Modified    time.Time `json:"modifiedTime" pb:"9"`
		Target      string    `json:"symlinkTarget,omitempty" pb:"10"`
		// Metadata are the attributes of the file below attributePrefix.
		Metadata map[string]string `json:"metadata,omitempty" pb:"11"`
	}
	entryAnswer struct {
		Entry entryInfo `json:"entry" pb:"1"`
	}
	entriesAnswer struct {
		Entries []entryInfo `json:"entries" pb:"1"`
	}
)

// fileType is the type of an entry.
type fileType string

const (
	typeFile      fileType = "FILE_TYPE_FILE"
	typeDirectory fileType = "FILE_TYPE_DIRECTORY"
	typeLink      fileType = "FILE_TYPE_SYMLINK"
)

func (fileType) numbers() map[string]protowire.Number {
	return map[string]protowire.Number{string(typeFile): 1, string(typeDirectory): 2, string(typeLink): 3}
}

func (d *Dialect) filesystem(options []connect.HandlerOption) {
	unary(d, filesystemPath+"Stat", "statPath", options, d.stat)
	unary(d, filesystemPath+"MakeDir", "makeDirectory", options, d.makeDir)
	unary(d, filesystemPath+"Move", "movePath", options, d.move)
	unary(d, filesystemPath+"ListDir", "listDirectory", options, d.listDir)
	unary(d, filesystemPath+"Remove", "removePath", options, d.remove)
	d.watches(options)
}

// absolute is a path as the sandbox has it: a relative one begins at the home.
func absolute(p string) string {
	switch {
	case p == "~":
		return home
	case strings.HasPrefix(p, "~/"):
		return path.Join(home, p[2:])
	case !path.IsAbs(p):
		return path.Join(home, p)
	}
	return path.Clean(p)
}

// placed is a path as the runner gets it. One in the home is below the working directory, which is at another path in a fork.
func placed(at string) []byte {
	if at == home {
		return []byte(".")
	}
	if rest, ok := strings.CutPrefix(at, home+"/"); ok {
		return []byte(rest)
	}
	return []byte(at)
}

// forkDir is the working directory of a fork.
var forkDir = regexp.MustCompile(`^/tmp/work-[0-9a-f]+(/|$)`)

// shown is a path below the working directory as callers know it.
func shown(p string) string {
	if place := forkDir.FindString(p); place != "" {
		return path.Join(home, p[len(place):])
	}
	return p
}

// infoOf translates an entry.
func infoOf(e job.Entry) entryInfo {
	mode, _ := strconv.ParseUint(e.Mode, 8, 32)
	kind, letter := typeFile, "-"
	switch e.Type {
	case job.EntryDirectory:
		kind, letter = typeDirectory, "d"
	case job.EntryLink:
		letter = "L"
		if kind = typeLink; e.TargetType == job.EntryFile {
			kind = typeFile
		} else if e.TargetType == job.EntryDirectory {
			kind = typeDirectory
		}
	}
	info := entryInfo{
		Name: path.Base(e.Path), Type: kind, Path: e.Path, Size: e.Size, Mode: uint32(mode) & 0o777, Permissions: letter + permissions(uint32(mode)),
		Owner: e.Owner, Group: e.Group, Modified: e.Modified.UTC(), Metadata: metadataOfFile(e),
	}
	if e.Target != "" {
		if info.Target = e.Target; !path.IsAbs(e.Target) {
			info.Target = path.Join(path.Dir(e.Path), e.Target)
		}
	}
	return info
}

// texts is how many bytes the texts have whose length code decides.
func (i entryInfo) texts() int {
	const besides = 64 // of a key beside its texts
	size := len(i.Path) + len(i.Target)
	for key, value := range i.Metadata {
		size += besides + len(key) + len(value)
	}
	return size
}

// permissions writes a mode as ls does.
func permissions(mode uint32) string {
	text := []byte("rwxrwxrwx")
	for i := range text {
		if mode>>(len(text)-1-i)&1 == 0 {
			text[i] = '-'
		}
	}
	return string(text)
}

// failure is the code of the failure of an operation; empty if there is none.
func failure(err error) job.FailureCode {
	if end, ok := errors.AsType[*service.EndError](err); ok && end.Job.Failure != nil {
		return end.Job.Failure.Code
	}
	return ""
}

func (d *Dialect) fs(ctx context.Context, t target, r job.FSRequest) (job.FSAnswer, error) {
	a, _, err := d.fsPage(ctx, t, r)
	return a, err
}

// fsPage does one thing with the files of a sandbox. It returns the path of the last entry as the runner has it, too.
func (d *Dialect) fsPage(ctx context.Context, t target, r job.FSRequest) (a job.FSAnswer, last []byte, err error) {
	if !job.ValidAbsolute(string(r.Path)) || len(r.To) > 0 && !job.ValidAbsolute(string(r.To)) {
		return job.FSAnswer{}, nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the path is too long, or has a NUL byte"))
	}
	inHome := strings.HasPrefix(string(r.Path)+"/", home+"/")
	r.Path = placed(string(r.Path))
	if len(r.To) > 0 {
		r.To = placed(string(r.To))
	}
	a, err = d.service.SessionFS(ctx, t.caller, t.session, r)
	if n := len(a.Entries.Entries); n > 0 {
		last = []byte(a.Entries.Entries[n-1].RawPath())
	}
	if inHome {
		a.Entry.Path = shown(a.Entry.Path)
		for i := range a.Entries.Entries {
			a.Entries.Entries[i].Path = shown(a.Entries.Entries[i].Path)
		}
	}
	return a, last, err
}

func (d *Dialect) stat(ctx context.Context, t target, r *pathRequest) (*entryAnswer, error) {
	a, err := d.fs(ctx, t, job.FSRequest{Do: job.FSStat, Path: []byte(absolute(r.Path))})
	return &entryAnswer{infoOf(a.Entry)}, err
}

func (d *Dialect) makeDir(ctx context.Context, t target, r *pathRequest) (*entryAnswer, error) {
	const mode = 0o755
	at := []byte(absolute(r.Path))
	a, err := d.fs(ctx, t, job.FSRequest{Do: job.FSStat, Path: at})
	switch {
	case err == nil && (a.Entry.Type == job.EntryDirectory || a.Entry.TargetType == job.EntryDirectory):
		return nil, connect.NewError(connect.CodeAlreadyExists, errors.New("directory already exists: "+clipped(r.Path)))
	case err == nil:
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("path already exists but it is not a directory: "+clipped(r.Path)))
	case failure(err) != job.FailNoFile:
		return nil, err
	}
	a, err = d.fs(ctx, t, job.FSRequest{Do: job.FSMakeDir, Path: at, Mode: mode, Parents: true})
	return &entryAnswer{infoOf(a.Entry)}, err
}

func (d *Dialect) move(ctx context.Context, t target, r *moveRequest) (*entryAnswer, error) {
	a, err := d.fs(ctx, t, job.FSRequest{Do: job.FSMove, Path: []byte(absolute(r.Source)), To: []byte(absolute(r.Destination)), Replace: true, Parents: true})
	return &entryAnswer{infoOf(a.Entry)}, err
}

func (d *Dialect) remove(ctx context.Context, t target, r *pathRequest) (*empty, error) {
	_, err := d.fs(ctx, t, job.FSRequest{Do: job.FSRemove, Path: []byte(absolute(r.Path)), Recursive: true})
	if failure(err) == job.FailNoFile {
		err = nil
	}
	return &empty{}, err
}

const (
	// entriesAtOnce is how many entries a runner is asked for at once, and mostEntries how many a list may have.
	entriesAtOnce = 1000
	mostEntries   = 20000
	// mostListedBytes is how many bytes of paths and metadata a list may have.
	mostListedBytes = 16 << 20
	// deepest is the depth of a list at most.
	deepest = 64
)

func (d *Dialect) listDir(ctx context.Context, t target, r *listRequest) (*entriesAnswer, error) {
	at, err := d.directory(ctx, t, r.Path)
	if err != nil {
		return nil, err
	}
	answer, size := &entriesAnswer{Entries: []entryInfo{}}, 0
	request := job.FSRequest{Do: job.FSList, Path: []byte(at), Depth: min(max(1, r.Depth), deepest), Limit: entriesAtOnce}
	for {
		a, after, err := d.fsPage(ctx, t, request)
		if err != nil {
			return nil, err
		}
		for _, e := range a.Entries.Entries {
			info := infoOf(e)
			size += info.texts()
			answer.Entries = append(answer.Entries, info)
		}
		if !a.Entries.More || len(a.Entries.Entries) == 0 {
			return answer, nil
		}
		if len(answer.Entries) >= mostEntries || size >= mostListedBytes {
			return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("the directory has too many entries; list a part of it"))
		}
		request.After = after
	}
}

// directory returns the path of a directory, or of the one that a link leads to.
func (d *Dialect) directory(ctx context.Context, t target, p string) (string, error) {
	at := absolute(p)
	a, err := d.fs(ctx, t, job.FSRequest{Do: job.FSStat, Path: []byte(at)})
	switch {
	case err != nil:
		return "", err
	case a.Entry.Type == job.EntryDirectory:
		return at, nil
	case a.Entry.TargetType == job.EntryDirectory:
		return infoOf(a.Entry).Target, nil
	}
	return "", connect.NewError(connect.CodeInvalidArgument, errors.New("path is not a directory: "+clipped(p)))
}
