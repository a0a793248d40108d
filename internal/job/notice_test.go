package job_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func TestNotices(t *testing.T) {
	t.Parallel()
	quota := job.Quota{OutputBytes: 1000, ResultBytes: 1 << 20}
	form := map[string]json.RawMessage{"image/png": json.RawMessage(`"0123456"`)}
	tests := []struct {
		name   string
		result job.Result
		want   []string
	}{
		{"nothing", job.Result{Stdout: "x", Results: []job.Value{{Main: true}}}, nil},
		{"omitted", job.Result{Results: []job.Value{{}, {Omitted: map[string]int64{"text/html": 12345678, "a/b": 1}}}}, []string{
			"form_omitted 1 a/b of 1 bytes was left out: it has no room in the 1,048,576 bytes for values; raise limits.resultBytes, or save it as a file",
			"form_omitted 1 text/html of 12,345,678 bytes was left out: it has no room in the 1,048,576 bytes for values; raise limits.resultBytes, or save it as a file",
		}},
		{"reduced", job.Result{Results: []job.Value{{Data: form, Reduced: map[string]int64{"image/png": 1000}}}}, []string{
			"picture_reduced 0 image/png of 1,000 bytes was made smaller, to 9: all values have 1,048,576 bytes; raise limits.resultBytes, lower its dpi, or save it as a file",
		}},
		{"failed", job.Result{Results: []job.Value{{Errors: map[string]string{"_repr_html_": "E: m"}}}}, []string{"form_failed 0 _repr_html_ failed: E: m"}},
		{"cut", job.Result{Results: []job.Value{{Truncated: &job.Table{Rows: &job.Part{Shown: 1000, Total: 1e6}, Columns: &job.Part{Shown: -1, Total: 2}}}}}, []string{
			"table_truncated 0 application/json has the first 1,000 of 1,000,000 rows; select what is needed, or save the table as a file",
			"table_truncated 0 application/json has the first -1 of 2 columns; select what is needed, or save the table as a file",
		}},
		{"dropped", job.Result{ResultsDropped: 1, Truncated: &job.Truncated{Stderr: 7}, FilesDropped: &job.FilesDropped{Count: 2, Bytes: 5000, Incomplete: true, Reason: "why"}}, []string{
			"results_dropped 1 value was left out: values had no room any more in 1,048,576 bytes; raise limits.resultBytes, show fewer, or clear_output() what is outdated",
			"output_truncated 7 bytes of standard error were dropped from its middle: at most 1,000 are kept; raise limits.outputBytes, or write to a file",
			"files_dropped at least 2 files were not kept, 5,000 bytes together: why; leave fewer or smaller files, or let the operator raise KAA_MAX_RESULT_FILES and KAA_MAX_RESULT_FILE_BYTES",
		}},
		{"no room for files", job.Result{FilesDropped: &job.FilesDropped{Count: 1, Bytes: 5, First: "a", Reason: "why", Full: true}}, []string{
			"files_dropped 1 file was not kept, 5 bytes together, the first is \"a\": why; delete jobs with files that are not needed any more (DELETE /v1/jobs/{id}/record), or ask for a shorter resultTtl next time",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.result.Note(quota)
			tt.result.NoteFiles()
			var got []string
			for _, n := range tt.result.Notices {
				place := ""
				if n.Result != nil {
					place = fmt.Sprint(*n.Result, " ")
				}
				got = append(got, fmt.Sprintf("%s %s%s", n.Code, place, n.Message))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// However much code shows, the list stays short.
func TestNoticesAreBounded(t *testing.T) {
	t.Parallel()
	r := job.Result{Results: make([]job.Value, 10_000)}
	for i := range r.Results {
		r.Results[i].Omitted = map[string]int64{"a/b": 1}
	}
	r.Note(job.Quota{})
	if n := len(r.Notices); n != 51 || !strings.HasPrefix(r.Notices[50].Message, "9,950 notices are") {
		t.Errorf("%d notices, last %+v", n, r.Notices[n-1])
	}
}
