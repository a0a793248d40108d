package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// Blobs is the storage of the contents of files.
type Blobs interface {
	Put(ctx context.Context, key string, content io.Reader) (int64, error)
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
}

// errFiles means that the input files of a job could not be put in place.
var errFiles = errors.New("files of the job are unavailable")

// errStore means that this runner cannot read the blob store. Another one may be able to.
var errStore = errors.New("the blob store does not answer this runner")

// storeDoubt is how long a runner counts as one that cannot read the blob store after it could not.
const storeDoubt = 30 * time.Second

// bringTime and keepTime bound the moving of one execution's files, because a caller may wait for
// it. Both grow with each byte that is moved.
const (
	bringTime = 15 * time.Second
	keepTime  = 10 * time.Second
	// slowestMove is the least number of bytes that are moved in a second, apart from these times.
	slowestMove = 8 << 20
)

// pace ends a context after a time that grows with the bytes that are moved.
type pace struct {
	timer *time.Timer

	mu  sync.Mutex
	end time.Time
}

// paced returns a context with a pace.
func paced(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc, *pace) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &pace{end: time.Now().Add(d)}
	p.timer = time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { p.timer.Stop(); cancel(nil) }, p
}

// moved extends the time after n bytes have been moved.
func (p *pace) moved(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = p.end.Add(time.Duration(n) * (time.Second / slowestMove))
	if p.timer.Stop() { // false if the time is over
		p.timer.Reset(time.Until(p.end))
	}
}

// of reads r at this pace.
func (p *pace) of(r io.Reader) io.Reader { return pacedReader{r, p} }

type pacedReader struct {
	r io.Reader
	p *pace
}

func (r pacedReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.p.moved(n)
	return n, err
}

// putter takes files: a worker before its code starts, or a session.
type putter interface {
	Put(path string, content io.Reader) error
}

// collector passes on the files that code left.
type collector interface {
	Collect(ctx context.Context, most job.FileLimits, keep func(f job.Found, content io.Reader) error) (job.FilesDropped, error)
}

// bring puts the input files of a job into the worker's directory.
func (r *Runner) bring(run context.Context, w putter, claim job.Claim) error {
	return r.bringSome(run, w, claim, func(job.Input) bool { return true })
}

// bringSome puts those input files of a job into a worker's directory that are wanted.
func (r *Runner) bringSome(run context.Context, w putter, claim job.Claim, wanted func(job.Input) bool) error {
	if len(claim.Spec.Files) == 0 || run.Err() != nil {
		return nil
	}
	ctx, cancel, pace := paced(run, bringTime)
	defer cancel()
	for i, f := range claim.Spec.Files {
		if !wanted(f) {
			continue
		}
		pace.moved(int(f.Size)) // before the transfer, because the size is known
		if err := r.bringOne(ctx, w, job.InputKey(claim.JobID, i), f); err != nil {
			switch {
			case run.Err() != nil:
				return nil // Execute reports the reason
			case errors.Is(err, job.ErrNotStarted):
				return err
			case errors.Is(err, errStore):
				r.storeFailed(time.Now())
			}
			return fmt.Errorf("%w: %w", errFiles, err)
		}
	}
	r.storeFailed(time.Time{})
	return nil
}

func (r *Runner) bringOne(ctx context.Context, w putter, key string, f job.Input) error {
	content, err := r.cfg.Blobs.Open(ctx, key)
	if errors.Is(err, job.ErrUnavailable) {
		return errors.Join(errStore, err)
	}
	if err != nil {
		return err
	}
	source := &storeReader{r: content}
	return errors.Join(w.Put(f.Path, source), source.err, content.Close())
}

// storeReader keeps the error of a read, so that it is not taken for one of the worker.
type storeReader struct {
	r   io.Reader
	err error
}

func (s *storeReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = errors.Join(errStore, err)
	}
	return n, err
}

// storeFailed notes when the blob store did not answer; zero if it did. Other runners learn the
// first failure at once.
func (r *Runner) storeFailed(at time.Time) {
	r.mu.Lock()
	before := r.storeFailure
	r.storeFailure = at
	r.mu.Unlock()
	if time.Since(before) > storeDoubt && !at.IsZero() {
		r.HealthChanged()
	}
}

// handBack takes back the claim of a job whose files this runner cannot read, if another one seems
// able to. It reports whether it did. A lone runner, or an outage that concerns all of them,
// costs the job an attempt, so that it ends.
func (r *Runner) handBack(ctx context.Context, log *slog.Logger, e *execution, claim job.Claim, cause error) (bool, error) {
	others, err := r.others(ctx, claim.Spec.Runtime)
	if err != nil || !slices.ContainsFunc(others, func(o job.Runner) bool { return !o.NoFiles }) {
		return false, nil //nolint:nilerr // the outcome of the job names the files
	}
	return r.unclaim(ctx, log, e, claim, cause)
}

// keepFiles stores the files that an execution left and lists them in the result. If the storage
// fails, the caller loses the files but not the result.
func (r *Runner) keepFiles(run context.Context, log *slog.Logger, w collector, claim job.Claim, result *job.Result) {
	ctx, cancel, pace := paced(context.WithoutCancel(run), keepTime)
	defer cancel()
	stop := context.AfterFunc(run, func() {
		if !errors.Is(context.Cause(run), errCancelled) {
			cancel() // the process is about to stop, and the result matters more than the files
		}
	})
	defer stop()
	var mu sync.Mutex
	var files []job.File
	room := &room{of: r.cfg.Room, claim: claim}
	dropped, err := w.Collect(ctx, r.cfg.Files, func(f job.Found, content io.Reader) error {
		head := &beginning{r: pace.of(content)}
		n, err := r.put(ctx, room, f, head)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		files = append(files, job.NewFile(f.Path, n, mediaType(f.Path, head.bytes)))
		return nil
	})
	if err = errors.Join(err, room.close(ctx, len(files))); err != nil {
		log.ErrorContext(ctx, "files of an execution were not kept", slog.Any("err", err))
	}
	slices.SortFunc(files, func(a, b job.File) int { return strings.Compare(a.Path, b.Path) })
	result.Files = files
	if dropped != (job.FilesDropped{}) {
		result.FilesDropped = &dropped
		result.NoteFiles()
	}
}

// headSize is the number of bytes that http.DetectContentType looks at.
const headSize = 512

// beginning remembers the first bytes that are read. The media type is guessed from them.
type beginning struct {
	r     io.Reader
	bytes []byte
}

func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.bytes = append(b.bytes, p[:min(n, headSize-len(b.bytes))]...)
	return n, err
}

// mediaTypes are the types of files that people exchange with programs. They are listed here
// because the tables of machines differ.
var mediaTypes = map[string]string{ //nolint:gochecknoglobals // a constant
	".csv": "text/csv; charset=utf-8", ".tsv": "text/tab-separated-values; charset=utf-8", ".txt": "text/plain; charset=utf-8",
	".md": "text/markdown; charset=utf-8", ".py": "text/x-python; charset=utf-8", ".log": "text/plain; charset=utf-8",
	".json": "application/json", ".jsonl": "application/jsonl", ".ipynb": "application/x-ipynb+json",
	".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml",
	".parquet": "application/vnd.apache.parquet", ".npy": "application/octet-stream", ".npz": "application/zip",
	".sqlite": "application/vnd.sqlite3", ".zip": "application/zip", ".gz": "application/gzip", ".tar": "application/x-tar",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".mp3":  "audio/mpeg", ".wav": "audio/wav", ".mp4": "video/mp4",
}

// mediaType guesses the type of a file by its name, or else by its first bytes.
func mediaType(name string, head []byte) string {
	if t, ok := typeOfName(name); ok {
		return t
	}
	return http.DetectContentType(head)
}

func typeOfName(name string) (string, bool) {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := mediaTypes[ext]; ok {
		return t, true
	}
	if t := mime.TypeByExtension(ext); t != "" && utf8.ValidString(ext) {
		return t, true
	}
	return "", false
}
