package job

import "fmt"

// Order is the order in which an execution put out the parts of its result: pieces of the two
// streams, and results. The store keeps it, and Expand makes Outputs from it.
type Order []Piece

// Piece is a part of the output of an execution: its kind, and the number of bytes of a stream,
// or the index of a result.
type Piece [2]int64

// The kinds of pieces.
const (
	PieceStdout int64 = iota
	PieceStderr
	PieceResult
	PieceStdoutDropped
	PieceStderrDropped
	// Output that the code has cleared by clear_output stays in stdout and stderr only.
	PieceStdoutCleared
	PieceStderrCleared
	PieceStdoutDroppedCleared
	PieceStderrDroppedCleared
)

// Output is one entry of outputs, in its place among the others.
type Output struct {
	Type    string `json:"type" enum:"stdout,stderr,result,error" doc:"Its kind: output of a stream; something that the code showed, with the fields of results; the exception that ended it, with the fields of error, always the last."`
	Text    string `json:"text,omitempty" doc:"Of a stream: its text, up to the next item."`
	Dropped int64  `json:"dropped,omitempty" doc:"Of a stream, instead of text: how many bytes its budget has dropped here."`
	*Value
	*Error
}

// Add appends a piece, unless it is empty.
func (o *Order) Add(kind, n int64) {
	switch last := len(*o) - 1; {
	case kind == PieceResult:
		*o = append(*o, Piece{kind, n})
	case n <= 0:
	case last >= 0 && (*o)[last][0] == kind:
		(*o)[last][1] += n
	default:
		*o = append(*o, Piece{kind, n})
	}
}

// IsUsual reports whether the order is the one that Expand assumes by default: standard output,
// standard error, and the results.
func (o Order) IsUsual(results int) bool {
	before := PieceStdout - 1
	for i, p := range o {
		switch {
		case p[0] > PieceResult, p[0] < before, p[0] == before && before != PieceResult:
			return false
		case p[0] == PieceResult && int(p[1]) != results-len(o)+i:
			return false
		}
		before = p[0]
	}
	return true
}

// DroppedNote is the line in a stream that replaces so many bytes.
func DroppedNote(n int64) string { return fmt.Sprintf("\n... [%d bytes dropped] ...\n", n) }

// Expand makes Outputs from Order.
func (r *Result) Expand() {
	order := r.Order
	if order == nil {
		order.Add(PieceStdout, int64(len(r.Stdout)))
		order.Add(PieceStderr, int64(len(r.Stderr)))
		for i := range r.Results {
			order.Add(PieceResult, int64(i))
		}
	}
	x := expansion{r: r, stdout: r.Stdout, stderr: r.Stderr}
	for _, p := range order {
		x.add(p[0], p[1])
	}
	if r.Error != nil {
		x.outputs = append(x.outputs, Output{Type: "error", Error: r.Error})
	}
	r.Order, r.Outputs = nil, x.outputs
}

type expansion struct {
	r              *Result
	stdout, stderr string // the rest of them
	noted          [2]bool
	outputs        []Output
}

func (x *expansion) add(kind, n int64) {
	switch kind {
	case PieceStdout:
		x.outputs = append(x.outputs, Output{Type: "stdout", Text: cutText(&x.stdout, n)})
	case PieceStderr:
		x.outputs = append(x.outputs, Output{Type: "stderr", Text: cutText(&x.stderr, n)})
	case PieceStdoutCleared:
		cutText(&x.stdout, n)
	case PieceStderrCleared:
		cutText(&x.stderr, n)
	case PieceStdoutDroppedCleared:
		x.skipNote(0, &x.stdout)
	case PieceStderrDroppedCleared:
		x.skipNote(1, &x.stderr)
	case PieceStdoutDropped:
		x.skipNote(0, &x.stdout)
		x.outputs = append(x.outputs, Output{Type: "stdout", Dropped: n})
	case PieceStderrDropped:
		x.skipNote(1, &x.stderr)
		x.outputs = append(x.outputs, Output{Type: "stderr", Dropped: n})
	case PieceResult:
		if n >= 0 && n < int64(len(x.r.Results)) {
			x.outputs = append(x.outputs, Output{Type: "result", Value: &x.r.Results[n]})
		}
	}
}

// skipNote takes the note out of a stream, once.
func (x *expansion) skipNote(stream int, text *string) {
	if x.noted[stream] || x.r.Truncated == nil {
		return
	}
	x.noted[stream] = true
	cutText(text, int64(len(DroppedNote(x.r.Truncated.Of([...]string{"stdout", "stderr"}[stream])))))
}

// cutText takes up to n bytes from the beginning of text.
func cutText(text *string, n int64) string {
	n = max(0, min(n, int64(len(*text))))
	head := (*text)[:n]
	*text = (*text)[n:]
	return head
}
