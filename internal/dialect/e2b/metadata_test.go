package e2b

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
)

func TestAttributesIn(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range job.MaxAttributes + 1 {
		many[fmt.Sprint("X-Metadata-", i)] = "v"
	}
	for _, tt := range []struct {
		name   string
		header map[string]string
		want   map[string]string
		status int
	}{
		{name: "none", header: map[string]string{"X-Metadat": "v", "Metadata-X": "v"}},
		{name: "keys", header: map[string]string{"X-Metadata-Author": "me ~", "x-metadata-a.b_c": ""}, want: map[string]string{"user.e2b.author": "me ~", "user.e2b.a.b_c": ""}},
		{name: "no key", header: map[string]string{"X-Metadata-": "v"}, status: http.StatusBadRequest},
		{name: "no ASCII", header: map[string]string{"X-Metadata-A": "é"}, status: http.StatusBadRequest},
		{name: "a tab", header: map[string]string{"X-Metadata-A": "a\tb"}, status: http.StatusBadRequest},
		{name: "many", header: many, status: http.StatusBadRequest},
		{name: "a long key", header: map[string]string{"X-Metadata-" + strings.Repeat("a", 250): "v"}, status: http.StatusBadRequest},
		{name: "a large value", header: map[string]string{"X-Metadata-A": strings.Repeat("a", job.MaxAttributeBytes)}, status: http.StatusBadRequest},
	} {
		h := http.Header{}
		for name, value := range tt.header {
			h.Set(name, value)
		}
		got, err := attributesIn(h)
		status := 0
		if fault, ok := errors.AsType[*dialect.Fault](err); ok {
			status = fault.Status
		}
		if diff := gocmp.Diff(tt.want, got); diff != "" || status != tt.status {
			t.Errorf("%s: %s, %d (%v)", tt.name, diff, status, err)
		}
	}
}

func TestMetadataOfFile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ attributes, want map[string]string }{
		"none":   {},
		"others": {map[string]string{"user.other": "1", "user.e2bx": "2"}, nil},
		"both":   {map[string]string{"user.other": "1", "user.e2b.key": "2"}, map[string]string{"key": "2"}},
	} {
		if diff := gocmp.Diff(tt.want, infoOf(job.Entry{Path: "/a", Attributes: tt.attributes}).Metadata); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
