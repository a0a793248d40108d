package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// Directory is the working directory of a session. The session's code may change it at any
// moment. Its methods return a job.RefusedError if the directory's state does not allow the
// request.
type Directory interface {
	putter
	// Collect passes on the files that were created or changed since it was last called.
	collector
	// Files lists the regular files, and reports whether the list is complete.
	Files(ctx context.Context) (files []job.Found, all bool, err error)
	ReadFile(path string, use func(f job.Found, content io.Reader) error) error
	// RemoveFile deletes a file, a link (not its target), or an empty directory.
	RemoveFile(path string) error
}

// fileOperations are the operations on the files of a session. Package job defines their
// arguments and answers. Contents are blobs of the operation's job.
func fileOperations() map[string]Operation {
	return map[string]Operation{
		job.OpFileSystem: fileSystem, job.OpReadFileSystem: fileSystem, job.OpWatchFiles: watchFiles,
		job.OpPutFiles: putFiles, job.OpListFiles: listFiles, job.OpReadFile: readFile, job.OpRemoveFile: removeFile,
	}
}

// bring puts the input files of an execution into the session's directory. If it cannot, it
// returns the outcome of the execution; the session continues.
func (s *sessions) bring(ctx context.Context, log *slog.Logger, i Interpreter, claim job.Claim) *job.Outcome {
	err := s.r.bring(ctx, i, claim)
	if err == nil {
		return nil
	}
	failed := job.Outcome{State: job.Failed}
	refused, ok := errors.AsType[*job.RefusedError](err)
	end := i.Alive()
	switch {
	case ok:
		failed.Failure = refusal(refused)
	case end != nil:
		failed = sessionFailed(*end)
	default:
		log.ErrorContext(ctx, "files of an execution in a session were not put in place", slog.Any("err", err))
		failed.Failure = &job.Failure{Code: job.FailFiles, Message: "the files that came with the execution could not be put in place; the code has not started"}
	}
	return &failed
}

// inDirectory calls do with a session's directory.
func inDirectory(ctx context.Context, s *Session, do func(Directory) error) (*job.SessionEnd, error) {
	return inInterpreter(ctx, s, func(i Interpreter) error { return do(i) })
}

// inInterpreter calls do with a session's interpreter, to which its files belong. A session without one gets one.
func inInterpreter(ctx context.Context, s *Session, do func(Interpreter) error) (*job.SessionEnd, error) {
	i, err := s.Interpreter(ctx)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, errMoved) || isRefused(err)):
		return nil, err
	case err != nil:
		return &job.SessionEnd{Reason: job.EndStartFailed, Message: "no Python interpreter could be started for it"}, err
	}
	if err = do(i); err == nil {
		return nil, nil //nolint:nilnil // the session continues
	}
	if _, refused := errors.AsType[*job.RefusedError](err); refused {
		return nil, err
	}
	if errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrNoFile) { // of the blob storage
		return nil, &job.RefusedError{Code: job.FailFiles, Message: "the place where contents of files are does not answer"}
	}
	return i.Alive(), err
}

func isRefused(err error) bool {
	_, refused := errors.AsType[*job.RefusedError](err)
	return refused
}

func putFiles(ctx context.Context, s *Session, _ json.RawMessage) (any, *job.SessionEnd, error) {
	answer := job.SessionFiles{Files: []job.SessionFile{}}
	end, err := inDirectory(ctx, s, func(d Directory) error {
		for n, f := range s.claim.Spec.Files {
			if err := s.of.r.bringOne(ctx, d, job.InputKey(s.claim.JobID, n), f); err != nil {
				return err
			}
			answer.Files = append(answer.Files, describe(d, asPut(d, f)))
		}
		return nil
	})
	return answer, end, err
}

// asPut describes a file after it was put into the directory. The code may have removed it since;
// then the description is that of the input.
func asPut(d Directory, f job.Input) job.Found {
	found := job.Found{Path: f.Path, Size: f.Size}
	_ = d.ReadFile(f.Path, func(now job.Found, _ io.Reader) error {
		found = now
		return nil
	})
	return found
}

func listFiles(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var page job.SessionFilesPage
	if err := json.Unmarshal(args, &page); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	answer := job.SessionFiles{Files: []job.SessionFile{}}
	end, err := inDirectory(ctx, s, func(d Directory) error {
		found, all, err := d.Files(ctx)
		if err != nil {
			return err
		}
		answer.Incomplete = !all
		slices.SortFunc(found, func(a, b job.Found) int { return strings.Compare(a.Path, b.Path) })
		first, _ := slices.BinarySearchFunc(found, string(page.After)+"\x00", func(f job.Found, after string) int { return strings.Compare(f.Path, after) })
		if len(page.After) == 0 {
			first = 0
		}
		size := 0
		for _, f := range found[first:] {
			if len(answer.Files) == page.Limit || size > maxListing {
				answer.Next = []byte(found[first+len(answer.Files)-1].Path)
				break
			}
			size += len(f.Path)
			answer.Files = append(answer.Files, describe(d, f))
		}
		return ctx.Err()
	})
	return answer, end, err
}

// maxListing bounds the bytes of paths in a listing, because the listing goes through Redis.
const maxListing = 256 << 10

// describe guesses a file's type by its name, or else by its content.
func describe(d Directory, f job.Found) job.SessionFile {
	kind, known := typeOfName(f.Path)
	if !known {
		head := &beginning{}
		// A file that cannot be read now has the type of an empty one.
		_ = d.ReadFile(f.Path, func(_ job.Found, content io.Reader) error {
			head.r = content
			_, err := io.ReadFull(head, make([]byte, headSize))
			return err
		})
		kind = mediaType(f.Path, head.bytes)
	}
	return job.SessionFile{File: job.NewFile(f.Path, f.Size, kind), Modified: f.Modified}
}

func readFile(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	path, err := pathOf(args)
	if err != nil {
		return nil, nil, err
	}
	var answer job.SessionFile
	end, err := inDirectory(ctx, s, func(d Directory) error {
		return byEitherName(path, func(path string) error {
			return d.ReadFile(path, func(f job.Found, content io.Reader) error {
				answer, err = s.of.r.passOn(ctx, s.claim, f, content)
				return err
			})
		})
	})
	return answer, end, err
}

// passOn stores a file as a blob, for the caller that asked for it.
func (r *Runner) passOn(ctx context.Context, claim job.Claim, f job.Found, content io.Reader) (job.SessionFile, error) {
	if f.Size > r.cfg.Files.Bytes {
		return job.SessionFile{}, &job.RefusedError{
			Code: job.FailTooLarge, Message: fmt.Sprintf("the file has %d bytes, and no more than %d are passed on; let the code make smaller ones of it", f.Size, r.cfg.Files.Bytes),
		}
	}
	head, sum := &beginning{r: content}, sha256.New()
	n, err := r.put(ctx, &room{of: r.cfg.Room, claim: claim}, f, io.TeeReader(head, sum))
	if full, ok := errors.AsType[*job.FilesFullError](err); ok {
		return job.SessionFile{}, &job.RefusedError{Code: full.Code(), Message: full.Error() + "; " + full.Advice()}
	}
	const length = 16 // bytes
	return job.SessionFile{
		File: job.NewFile(f.Path, n, mediaType(f.Path, head.bytes)), Modified: f.Modified, Sum: hex.EncodeToString(sum.Sum(nil)[:length]),
	}, err
}

func removeFile(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	path, err := pathOf(args)
	if err != nil {
		return nil, nil, err
	}
	end, err := inDirectory(ctx, s, func(d Directory) error { return byEitherName(path, d.RemoveFile) })
	return struct{}{}, end, err
}

// byEitherName calls do with the path as it is. If there is no such file, it takes path for an
// escaped one, as in listings, and calls do with the bytes that it stands for.
func byEitherName(path string, do func(path string) error) error {
	err := do(path)
	refused, ok := errors.AsType[*job.RefusedError](err)
	listed := job.File{Path: path, Escaped: true}.Raw()
	if !ok || refused.Code != job.FailNoFile || listed == path || !job.ValidPath(listed) {
		return err
	}
	return do(listed)
}

func pathOf(args json.RawMessage) (string, error) {
	var a job.SessionPath
	if err := json.Unmarshal(args, &a); err != nil {
		return "", fmt.Errorf("decode arguments: %w", err)
	}
	if path := string(a.Path); job.ValidPath(path) {
		return path, nil
	}
	return "", &job.RefusedError{Code: job.FailNoFile, Message: "the session has no such file"}
}
