package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestAgreeOnSchema: processes of several versions start one after the other.
func TestAgreeOnSchema(t *testing.T) {
	t.Parallel()
	// process is one that starts: the version it writes, the lowest that works beside it, and the
	// lowest that it reads.
	type process struct{ version, readBy, oldest int }
	tests := []struct {
		name   string
		old    bool // there are records without a version
		starts []process
		want   job.Schema
		words  string // of the refusal of the last one
	}{
		{"the first", false, []process{{3, 2, 2}}, job.Schema{Version: 3, ReadBy: 2, By: "v0"}, ""},
		{"the same again", false, []process{{3, 2, 2}, {3, 2, 2}}, job.Schema{Version: 3, ReadBy: 2, By: "v0"}, ""},
		{"a newer one", false, []process{{1, 1, 1}, {2, 1, 1}}, job.Schema{Version: 2, ReadBy: 1, By: "v1"}, ""},
		{"an older one beside it", false, []process{{1, 1, 1}, {2, 1, 1}, {1, 1, 1}}, job.Schema{Version: 2, ReadBy: 1, By: "v1"}, ""},
		{
			"an older one that cannot", false,
			[]process{{1, 1, 1}, {3, 2, 1}, {1, 1, 1}},
			job.Schema{Version: 3, ReadBy: 2, By: "v1"},
			"have version 3, since Kaa v1 has worked on them, and need a process of version 2 at least; this Kaa v2 has version 1",
		},
		{
			"a newer one that reads no such old ones", false,
			[]process{{1, 1, 1}, {3, 3, 2}},
			job.Schema{Version: 1, ReadBy: 1, By: "v0"},
			"have version 1, written by Kaa v0; this Kaa v1 reads version 2 and newer ones",
		},
		{"records of before there were versions", true, []process{{2, 1, 1}}, job.Schema{Version: 2, ReadBy: 1, By: "v0"}, ""},
		{"those, and one of the same release", true, []process{{1, 1, 1}}, job.Schema{Version: 1, ReadBy: 1, By: "before versions"}, ""},
		{
			"those are too old", true,
			[]process{{3, 3, 2}},
			job.Schema{Version: 1, ReadBy: 1, By: "before versions"},
			"have version 1, written by Kaa before versions; this Kaa v0 reads version 2 and newer ones",
		},
		{"the bound never falls", false, []process{{3, 3, 1}, {4, 2, 1}}, job.Schema{Version: 4, ReadBy: 3, By: "v1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rdb := testenv.Redis(t).Client(t)
			if tt.old {
				setupOn(t, rdb, store.Config{}).create(t, newJob())
			}
			var got, read job.Schema
			var err, readErr error
			for i, p := range tt.starts {
				s := store.New(rdb, store.Config{Schema: store.SchemaConfig{
					Schema: job.Schema{Version: p.version, ReadBy: p.readBy, By: "v" + string(rune('0'+i))}, Oldest: p.oldest,
				}})
				got, err = s.AgreeOnSchema(t.Context())
				read, readErr = s.Schema(t.Context())
				if i < len(tt.starts)-1 && err != nil {
					t.Fatal(err)
				}
			}
			if got != tt.want || read != tt.want || (err == nil) != (readErr == nil) {
				t.Errorf("%+v %v, then %+v %v; want %+v", got, err, read, readErr, tt.want)
			}
			refusal, refused := errors.AsType[*job.SchemaError](err)
			if refused != (tt.words != "") || err != nil && !refused || refused && !strings.Contains(refusal.Error(), tt.words) {
				t.Errorf("%v, want %q", err, tt.words)
			}
		})
	}
}

// TestSchemaOfNothing: a look at an empty database leaves it empty.
func TestSchemaOfNothing(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	if got, err := store.New(rdb, store.Config{}).Schema(t.Context()); err != nil || got != (job.Schema{}) {
		t.Errorf("%+v %v", got, err)
	}
	if n := rdb.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
