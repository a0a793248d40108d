package store

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// FuzzRecord: whatever a record holds, decoding it does not panic, and what is written
// is what is read.
func FuzzRecord(f *testing.F) {
	f.Add("completed", "default", "1", "1700000000000", `{"a":1}`, "", `{"status":"ok","stdout":"x"}`, "print(1)", "out\x00\ufffd")
	f.Add("failed", "low", "-1", "x", "", "runner_lost", "", "", "")
	f.Add("", "", "", "", "null", "", "{", "\xff", "\u2028<>&")
	f.Fuzz(func(t *testing.T, state, queue, number, at, metadata, code, result, source, stdout string) {
		fields := append(summaryFields(), "result")
		given := map[string]string{
			"state": state, "queue": queue, "attempt": number, "max_attempts": number, "created_at": at, "finished_at": at,
			"timeout": number, "result_ttl": number, "metadata": metadata, "failure_code": code, "result": result,
		}
		values := make([]any, len(fields))
		for i, name := range fields {
			if v, ok := given[name]; ok {
				values[i] = v
			}
		}
		j, ok, err := decode("id", fields, values, nil)
		if err == nil && ok != (state != "") {
			t.Errorf("there: %t, state %q", ok, state)
		}
		if ok && (string(j.State) != state || j.Queue != queue || string(j.Metadata) != metadata) {
			t.Errorf("decoded %+v of %v", j, given)
		}

		if !utf8.ValidString(source) || !utf8.ValidString(stdout) {
			return // neither the API nor the interpreter lets such text through
		}
		spec := job.Spec{Code: source, Stdin: stdout, Envs: map[string]string{"A": source}}
		text, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		var read job.Spec
		if err := json.Unmarshal(text, &read); err != nil || !cmp.Equal(spec, read) {
			t.Errorf("spec %+v was read as %+v, %v", spec, read, err)
		}
		want := &job.Result{Status: job.StatusError, Stdout: stdout, Error: &job.Error{Name: source}, Results: []job.Value{{
			Main: true, Data: map[string]json.RawMessage{source: json.RawMessage(`{"a":[1e400,"\ud83d\ude00"]}`)}, Omitted: map[string]int64{stdout: 1},
		}}}
		if text, err = json.Marshal(want); err != nil {
			t.Fatal(err)
		}
		j, _, err = decode("id", []string{"state", "result"}, []any{"completed", string(text)}, nil)
		want.Expand()
		if err != nil || !cmp.Equal(want, j.Result) {
			t.Errorf("result %+v was read as %+v, %v", want, j.Result, err)
		}
	})
}
