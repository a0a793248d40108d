package job

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter selects jobs for a listing. Zero values mean all.
type Filter struct {
	State State
	Queue string
	// From and Before bound the times of the jobs' ids, in milliseconds: From itself fits, Before does not. The id of a job of
	// a batch has the time of the batch.
	From, Before time.Time
	// The following conditions have no listing of their own, so records are read for them.
	Statuses []Status // of jobs whose code has ended; empty means all
	Metadata []MetadataMatch
	Text     string // in a name or a value of the metadata, in capitals or not
	Owner    string // exactly
	Viewer   Viewer
	Cursor   string // id of the last job of the page before
	Limit    int
}

// Narrows reports whether the listings have jobs that do not fit the filter, so that a page may be short.
func (f Filter) Narrows() bool {
	return len(f.Statuses) > 0 || len(f.Metadata) > 0 || f.Text != "" || f.Owner != ""
}

// Fits reports whether a job fits the conditions that have no listing.
func (f Filter) Fits(j Job) bool {
	switch {
	case len(f.Statuses) > 0 && !slices.Contains(f.Statuses, j.Status), f.Owner != "" && f.Owner != j.Owner, !hasMembers(j.Metadata, f.Metadata):
		return false
	case f.Text == "":
		return true
	}
	var metadata any
	return json.Unmarshal(j.Metadata, &metadata) == nil && hasText(metadata, strings.ToLower(f.Text))
}

// hasText reports whether a name or a value of JSON has a text, which is in small letters.
func hasText(v any, text string) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if strings.Contains(strings.ToLower(name), text) || hasText(value, text) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(value any) bool { return hasText(value, text) })
	case string:
		return strings.Contains(strings.ToLower(v), text)
	default:
		b, _ := json.Marshal(v) // a number, true, false or null
		return strings.Contains(string(b), text)
	}
	return false
}

// IDsFrom returns the text that is before all ids of a time and later, and behind all earlier ones.
func IDsFrom(t time.Time) string {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	h := fmt.Sprintf("%012x", max(0, ms))
	return h[:8] + "-" + h[8:12]
}
