package job

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Notice names a part of an execution that is missing from its result or was changed, and a
// remedy.
type Notice struct {
	Code    NoticeCode `json:"code" doc:"Stable name of its subject."`
	Message string     `json:"message" doc:"The missing part, its size, and the remedy; for people."`
	// Result is the index of the value concerned.
	Result *int `json:"result,omitempty" doc:"The index in results of the value that it is about."`
}

// NoticeCode is the kind of a notice.
type NoticeCode string

// The codes of notices.
const (
	NoticeOmitted   NoticeCode = "form_omitted"     // a form of a value had no room
	NoticeReduced   NoticeCode = "picture_reduced"  // a picture was made smaller
	NoticeTruncated NoticeCode = "table_truncated"  // application/json is not all of a table
	NoticeFailed    NoticeCode = "form_failed"      // a method of a value failed
	NoticeResults   NoticeCode = "results_dropped"  // values had no room
	NoticeOutput    NoticeCode = "output_truncated" // the middle of a stream was dropped
	NoticeFiles     NoticeCode = "files_dropped"    // files were not kept
	NoticeMore      NoticeCode = "more"             // notices that are not listed
)

// maxNotices bounds those of one result: code can show thousands of values.
const maxNotices = 50

// Note adds the notices that follow from the result itself, except those of its files.
func (r *Result) Note(q Quota) {
	n := noter{room: q.ValueBytes()}
	for i, v := range r.Results {
		n.value(i, v)
	}
	if r.ResultsDropped > 0 {
		n.add(NoticeResults, nil, "%s left out: values had no room any more in %s bytes; raise limits.resultBytes, show fewer, or clear_output() what is outdated",
			count(int64(r.ResultsDropped), "value was", "values were"), number(n.room))
	}
	if r.Truncated != nil {
		for _, s := range []struct {
			name    string
			dropped int64
		}{{"standard output", r.Truncated.Stdout}, {"standard error", r.Truncated.Stderr}} {
			if s.dropped > 0 {
				n.add(NoticeOutput, nil, "%s bytes of %s were dropped from its middle: at most %s are kept; raise limits.outputBytes, or write to a file", number(s.dropped), s.name, number(q.OutputBytes))
			}
		}
	}
	if n.more > 0 {
		n.notices = append(n.notices, Notice{Code: NoticeMore, Message: count(int64(n.more), "notice is", "notices are") + " not listed"})
	}
	r.Notices = append(r.Notices, n.notices...)
}

// NoteFiles adds the notice of files that were not kept, if there are any.
func (r *Result) NoteFiles() {
	d := r.FilesDropped
	if d == nil {
		return
	}
	text := fmt.Sprintf("%s not kept, %s bytes together", count(int64(d.Count), "file was", "files were"), number(d.Bytes))
	if d.Incomplete {
		text = "at least " + text
	}
	if d.First != "" {
		text += ", the first is " + quote(d.First)
	}
	if d.Reason != "" {
		text += ": " + d.Reason
	}
	advice := "leave fewer or smaller files, or let the operator raise KAA_MAX_RESULT_FILES and KAA_MAX_RESULT_FILE_BYTES"
	if d.Full {
		advice = (&FilesFullError{}).Advice()
	}
	r.Notices = append(r.Notices, Notice{Code: NoticeFiles, Message: text + "; " + advice})
}

// noter collects notices.
type noter struct {
	room    int64
	notices []Notice
	more    int
}

func (n *noter) add(code NoticeCode, result *int, format string, args ...any) {
	if len(n.notices) == maxNotices {
		n.more++
		return
	}
	n.notices = append(n.notices, Notice{Code: code, Message: fmt.Sprintf(format, args...), Result: result})
}

func (n *noter) value(i int, v Value) {
	for _, mime := range slices.Sorted(maps.Keys(v.Omitted)) {
		n.add(NoticeOmitted, &i, "%s of %s bytes was left out: it has no room in the %s bytes for values; raise limits.resultBytes, or save it as a file", mime, number(v.Omitted[mime]), number(n.room))
	}
	for _, mime := range slices.Sorted(maps.Keys(v.Reduced)) {
		n.add(NoticeReduced, &i, "%s of %s bytes was made smaller, to %s: all values have %s bytes; raise limits.resultBytes, lower its dpi, or save it as a file",
			mime, number(v.Reduced[mime]), number(int64(len(v.Data[mime]))), number(n.room))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Errors)) {
		n.add(NoticeFailed, &i, "%s failed: %s", name, v.Errors[name])
	}
	if t := v.Truncated; t != nil {
		for _, p := range []struct {
			name string
			part *Part
		}{{"rows", t.Rows}, {"columns", t.Columns}} {
			if p.part != nil {
				n.add(NoticeTruncated, &i, "application/json has the first %s of %s %s; select what is needed, or save the table as a file", number(p.part.Shown), number(p.part.Total), p.name)
			}
		}
	}
}

// count writes a number with its noun.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// number writes a whole number with separators: 1,234,567.
func number(n int64) string {
	digits, minus := strings.CutPrefix(strconv.FormatInt(n, 10), "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if minus {
		return "-" + digits
	}
	return digits
}
