package runner_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// fakeDirectory is the working directory of a session. Code that executes there leaves "left".
type fakeDirectory struct {
	system job.FileSystem
	files  map[string]string
	err    error
}

func (d *fakeDirectory) Put(path string, content io.Reader) error {
	text, err := io.ReadAll(content)
	if d.err != nil || err != nil {
		return d.err
	}
	d.files[path] = string(text)
	return nil
}

func (d *fakeDirectory) Collect(_ context.Context, _ job.FileLimits, keep func(job.Found, io.Reader) error) (job.FilesDropped, error) {
	text, ok := d.files["left"]
	if !ok {
		return job.FilesDropped{}, nil
	}
	return job.FilesDropped{}, keep(job.Found{Path: "left", Size: int64(len(text))}, strings.NewReader(text))
}

func (d *fakeDirectory) Files(context.Context) (files []job.Found, all bool, err error) {
	for path, text := range d.files {
		files = append(files, job.Found{Path: path, Size: int64(len(text)), Modified: time.Unix(1, 0).UTC()})
	}
	return files, true, d.err
}

func (d *fakeDirectory) ReadFile(path string, use func(f job.Found, content io.Reader) error) error {
	text, ok := d.files[path]
	switch {
	case d.err != nil:
		return d.err
	case !ok:
		return &job.RefusedError{Code: job.FailNoFile, Message: "no " + path}
	}
	return use(job.Found{Path: path, Size: int64(len(text))}, strings.NewReader(text))
}

func (d *fakeDirectory) RemoveFile(path string) error {
	if _, ok := d.files[path]; !ok {
		return &job.RefusedError{Code: job.FailNoFile, Message: "no " + path}
	}
	delete(d.files, path)
	return d.err
}

// TestSessionFileOperations: the operations on a session's files, their answers, and their errors.
func TestSessionFileOperations(t *testing.T) {
	t.Parallel()
	at := func(path string) json.RawMessage {
		args, err := json.Marshal(job.SessionPath{Path: []byte(path)})
		if err != nil {
			t.Fatal(err)
		}
		return args
	}
	gone := &job.RefusedError{Code: job.FailDisk, Message: "full"}
	for name, tt := range map[string]struct {
		spec  job.Spec
		err   error
		want  string
		blobs error
		ended job.EndReason
		files string // all of them afterwards, if they change
	}{
		"list": {
			spec: job.Spec{Op: job.OpListFiles, Args: json.RawMessage(`{"limit": 2}`)},
			want: `completed {"files":[{"path":"a.csv","size":3,"type":"text/csv; charset=utf-8","modified":"1970-01-01T00:00:01Z"},` +
				`{"path":"b\\xff","escaped":true,"size":4,"type":"text/plain; charset=utf-8","modified":"1970-01-01T00:00:01Z"}],"next":"Yv8="}`,
		},
		"list on": {spec: job.Spec{Op: job.OpListFiles, Args: json.RawMessage(`{"limit": 2, "after": "Yv8="}`)}, want: "completed " +
			`{"files":[{"path":"large","size":101,"type":"text/plain; charset=utf-8","modified":"1970-01-01T00:00:01Z"}]}`},
		"list past the end": {spec: job.Spec{Op: job.OpListFiles, Args: json.RawMessage(`{"limit": 2, "after": "eg=="}`)}, want: `completed {"files":[]}`},
		"read": {
			spec: job.Spec{Op: job.OpReadFile, Args: at("b\xff")},
			want: `completed {"path":"b\\xff","escaped":true,"size":4,"type":"text/plain; charset=utf-8","sum":"982d9e3eb996f559e633f4d194def376"}`,
		},
		"read by the listed name":          {spec: job.Spec{Op: job.OpReadFile, Args: at(`b\xff`)}, want: `completed {"path":"b\\xff"`},
		"read none":                        {spec: job.Spec{Op: job.OpReadFile, Args: at("c")}, want: "failed file_not_found: no c"},
		"read outside":                     {spec: job.Spec{Op: job.OpReadFile, Args: at("a/../../b")}, want: "failed file_not_found"},
		"read outside by a listed name":    {spec: job.Spec{Op: job.OpReadFile, Args: at(`\x2e\x2e/b`)}, want: "failed file_not_found"},
		"read what is too large":           {spec: job.Spec{Op: job.OpReadFile, Args: at("large")}, want: "failed file_too_large"},
		"read without a store":             {spec: job.Spec{Op: job.OpReadFile, Args: at("a.csv")}, blobs: job.ErrUnavailable, want: "failed files_unavailable"},
		"read of an interpreter that ends": {spec: job.Spec{Op: job.OpReadFile, Args: at("a.csv")}, err: job.ErrNotStarted, want: "failed session_ended", ended: job.EndCrashed},
		"remove":                           {spec: job.Spec{Op: job.OpRemoveFile, Args: at("a.csv")}, want: "completed {}", files: "b\xff large"},
		"remove none":                      {spec: job.Spec{Op: job.OpRemoveFile, Args: at("c")}, want: "failed file_not_found"},
		"put": {
			spec: job.Spec{Op: job.OpPutFiles, Files: []job.Input{{Path: "n.json", Size: 3}}}, files: "a.csv b\xff large n.json",
			want: `completed {"files":[{"path":"n.json","size":3,"type":"application/json"}]}`,
		},
		"put without a store":         {spec: job.Spec{Op: job.OpPutFiles, Files: []job.Input{{}, {}}}, want: "failed files_unavailable"},
		"put without room":            {spec: job.Spec{Op: job.OpPutFiles, Files: []job.Input{{}}}, err: gone, want: "failed disk_full: full"},
		"execute with files":          {spec: job.Spec{Code: "x", Files: []job.Input{{Path: "left"}}}, want: "completed 1", files: "a.csv b\xff large left"},
		"execute without a store":     {spec: job.Spec{Code: "x", Files: []job.Input{{}, {}}}, want: "failed files_unavailable"},
		"execute without room":        {spec: job.Spec{Code: "x", Files: []job.Input{{}}}, err: gone, want: "failed disk_full: full"},
		"execute in one that has end": {spec: job.Spec{Code: "x", Files: []job.Input{{}}}, err: job.ErrNotStarted, want: "failed session_ended", ended: job.EndCrashed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := tt.spec.Code + tt.spec.Op
			blobs := &fakeBlobs{blobs: map[string]string{job.InputKey(id, 0): "put"}, err: tt.blobs}
			interpreters := &fakeInterpreters{
				files: map[string]string{"a.csv": "a,b", "b\xff": "text", "large": strings.Repeat("x", 101)}, filesErr: tt.err, blobs: blobs,
			}
			records := &fakeSession{waiting: []job.Spec{tt.spec}, outcomes: make(chan job.Outcome, 1)}
			r := sessionRunner(t, records, interpreters, 0)
			r.SessionReady("s", job.LaneDefault)
			o := <-records.outcomes
			if got := describe(o); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			if err := r.AwaitSessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if (o.End == nil) != (tt.ended == "") || o.End != nil && o.End.Reason != tt.ended {
				t.Errorf("ended: %+v, want %q", o.End, tt.ended)
			}
			if o.State == job.Completed && tt.spec.Op == job.OpReadFile && blobs.blobs[job.OutputKey(id, 1, "b\xff")] != "text" {
				t.Errorf("blobs: %v", blobs.blobs)
			}
			if tt.spec.Code != "" && o.State == job.Completed {
				want := []job.File{{Path: "left", Size: 3, Type: "text/plain; charset=utf-8"}}
				if diff := cmp.Diff(want, o.Result.Files); diff != "" || blobs.blobs[job.OutputKey(id, 1, "left")] != "put" {
					t.Errorf("files (-want +got):\n%s; blobs %v", diff, blobs.blobs)
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(interpreters.files)), " "); tt.files != "" && got != tt.files {
				t.Errorf("files: %q, want %q", got, tt.files)
			}
		})
	}
}

// InFiles is for the tests of volumes.
func (d *fakeDirectory) InFiles(ctx context.Context, do func(context.Context, job.FileSystem) error) error {
	if d.system != nil && d.err == nil {
		return do(ctx, d.system)
	}
	return d.err
}
