package capture

import (
	"io"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// maxPieces bounds the pieces of output whose order a journal keeps. Pieces next to a value do not
// count, because the number of values has a bound of its own. Beyond maxPieces there is one piece
// for each stream between two values.
const maxPieces = 4096

// Journal keeps the output of an execution in its order.
type Journal struct {
	mu      sync.Mutex
	streams [2]*capture
	shown   results
	asked   []job.Event // requests for input
	pieces  []piece
	// latest is the index in pieces of the last piece of each stream, plus one. It is 0 if the
	// stream has no piece after the last value.
	latest [2]int
	// cleared is the number of bytes of each stream that were written before the last clear.
	// They stay in stdout and stderr of the result, and are in no piece.
	cleared [2]int64
}

// piece is a run of bytes of a stream, or the index of a value or of a request for input.
type piece struct {
	kind pieceKind
	n    int64
}

type pieceKind int

// The kinds of pieces; the first two are the streams.
const (
	Stdout pieceKind = iota // also an index of Journal.streams
	Stderr
	pieceValue
	pieceAsked
)

// Name returns the name of a stream.
func (k pieceKind) Name() string {
	if k == Stderr {
		return "stderr"
	}
	return "stdout"
}

// NewJournal returns a journal that keeps as much as the quota allows. It takes the memory for
// output from room.
func NewJournal(quota job.Quota, room *Room) *Journal {
	budget := int(quota.OutputBytes)
	j := &Journal{streams: [2]*capture{newCapture(budget), newCapture(budget)}, shown: newResults(quota.ValueBytes())}
	for _, c := range j.streams {
		c.room = room
	}
	return j
}

// Release gives back the memory of the journal's output. The output must not be used any more.
func (j *Journal) Release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.streams {
		c.giveRoom()
	}
}

// Shortened returns the most bytes that were kept of a stream, if the runner had less room than
// the budget; otherwise 0.
func (j *Journal) Shortened() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	least := int64(0)
	for _, c := range j.streams {
		if kept := int64(c.headMax + c.tailMax); kept < int64(c.budget) && c.total > kept {
			least = max(least, kept)
		}
	}
	return least
}

// Stream returns the writer for the bytes of a stream.
func (j *Journal) Stream(kind pieceKind) io.Writer { return &journalStream{j, kind} }

type journalStream struct {
	j    *Journal
	kind pieceKind
}

// Write never fails.
func (s *journalStream) Write(p []byte) (int, error) {
	j := s.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.shown.clearing {
		j.forget()
	}
	_, _ = j.streams[s.kind].Write(p)
	n, last := int64(len(p)), len(j.pieces)-1
	if last >= maxPieces && j.latest[s.kind] > 0 {
		last = j.latest[s.kind] - 1
	}
	if last >= 0 && j.pieces[last].kind == s.kind {
		j.pieces[last].n += n
		return len(p), nil
	}
	j.pieces = append(j.pieces, piece{s.kind, n})
	j.latest[s.kind] = len(j.pieces)
	return len(p), nil
}

// Value keeps a value that the code shows, and reports whether there was room for it.
func (j *Journal) Value(v job.Value, size int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.shown.clearing {
		j.forget()
	}
	isKept, isNew := j.shown.put(v, size)
	if isNew {
		j.show(piece{pieceValue, int64(len(j.shown.kept) - 1)})
	}
	return isKept
}

// Clear takes back all output so far. With wait it does so at the next output. Clear reports
// whether that changes anything.
func (j *Journal) Clear(wait bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if wait {
		was := j.shown.clearing
		j.shown.clearing = true
		return !was
	}
	if len(j.pieces) == 0 && j.shown.dropped == 0 && !j.shown.clearing {
		return false
	}
	j.forget()
	return true
}

func (j *Journal) forget() {
	j.shown.forget()
	j.asked, j.pieces, j.latest = nil, nil, [2]int{}
	for i, stream := range j.streams {
		j.cleared[i] = stream.total
	}
}

// Ask keeps a request for input.
func (j *Journal) Ask(e job.Event) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, e)
	j.show(piece{pieceAsked, int64(len(j.asked) - 1)})
	return true
}

func (j *Journal) show(p piece) {
	j.pieces = append(j.pieces, p)
	j.latest = [2]int{}
}

// Replay sends all output so far to a sink.
func (j *Journal) Replay(s job.Sink) {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := func(kind pieceKind, from, n int64) {
		name := kind.Name()
		j.streams[kind].between(from, n, func(text []byte) { s.Stream(name, text) }, func(n int64) { s.Skipped(name, n) })
	}
	takeBack := func(wait bool) {
		e := job.ClearEvent(wait)
		s.Event(e.Type, e.Data)
	}
	if at := j.cleared; at != [2]int64{} {
		text(Stdout, 0, at[Stdout])
		text(Stderr, 0, at[Stderr])
		takeBack(false)
	}
	at := j.cleared
	for _, p := range j.pieces {
		switch p.kind {
		case pieceValue:
			e := j.shown.kept[p.n].Event()
			s.Event(e.Type, e.Data)
		case pieceAsked:
			s.Event(j.asked[p.n].Type, j.asked[p.n].Data)
		case Stdout, Stderr:
			text(p.kind, at[p.kind], p.n)
			at[p.kind] += p.n
		}
	}
	if j.shown.clearing {
		takeBack(true)
	}
}

// textKinds are the kinds of a stream's pieces in a job.Order: kept and dropped ones, and both
// kinds of pieces that a clear took back.
type textKinds struct{ kept, dropped, keptCleared, droppedCleared int64 }

func (k pieceKind) inOrder() textKinds {
	if k == Stderr {
		return textKinds{job.PieceStderr, job.PieceStderrDropped, job.PieceStderrCleared, job.PieceStderrDroppedCleared}
	}
	return textKinds{job.PieceStdout, job.PieceStdoutDropped, job.PieceStdoutCleared, job.PieceStdoutDroppedCleared}
}

// Fill stores the output in a result.
func (j *Journal) Fill(res *job.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := [2]keptText{j.streams[Stdout].kept(), j.streams[Stderr].kept()}
	res.Stdout, res.Stderr = kept[Stdout].String(), kept[Stderr].String()
	if kept[Stdout].dropped+kept[Stderr].dropped > 0 {
		res.Truncated = &job.Truncated{Stdout: kept[Stdout].dropped, Stderr: kept[Stderr].dropped}
	}
	res.Results, res.ResultsDropped = j.shown.kept, j.shown.dropped
	var order job.Order
	text := func(kind pieceKind, from, to, isKept, isDropped int64) {
		head, dropped, tail := kept[kind].between(from, to)
		order.Add(isKept, head)
		order.Add(isDropped, dropped)
		order.Add(isKept, tail)
	}
	for _, kind := range []pieceKind{Stdout, Stderr} {
		text(kind, 0, j.cleared[kind], kind.inOrder().keptCleared, kind.inOrder().droppedCleared)
	}
	at := j.cleared
	for _, p := range j.pieces {
		switch p.kind {
		case pieceValue:
			order.Add(job.PieceResult, p.n)
		case pieceAsked: // a result has no requests
		case Stdout, Stderr:
			text(p.kind, at[p.kind], at[p.kind]+p.n, p.kind.inOrder().kept, p.kind.inOrder().dropped)
			at[p.kind] += p.n
		}
	}
	if !order.IsUsual(len(res.Results)) {
		res.Order = order
	}
}
