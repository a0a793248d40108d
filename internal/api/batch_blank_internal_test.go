package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestBlankLines: a small body has as many blank lines as gzip packs into it. Each costs time, and none is a job.
func TestBlankLines(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text  string
		taken bool
	}{
		"some":               {strings.Repeat("\n", freeBlanks), true},
		"one after each job": {strings.Repeat("{}\r\n\r\n", freeBlanks+10), true},
		"all":                {strings.Repeat(" \n", 3*freeBlanks), false},
		"most":               {strings.Repeat("{}\n\n\n\n\n", freeBlanks), false},
	} {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := io.WriteString(z, tt.text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		from, err := newLines(&packed, 1<<30, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{from: from}
		for err == nil {
			err = r.read()
		}
		if errors.Is(err, io.EOF) != tt.taken {
			t.Errorf("%s: %v after %d lines", name, err, from.number)
		}
	}
}
