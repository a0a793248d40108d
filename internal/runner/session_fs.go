package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kaa-run/kaa/internal/job"
)

// fileSystems is the part of an Interpreter that gives access to all files of its sandbox. Several goroutines may call it, also
// beside an execution.
type fileSystems interface {
	InFiles(ctx context.Context, do func(ctx context.Context, f job.FileSystem) error) error
}

// fileSystem does one thing with the file system of a session.
func fileSystem(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var request job.FSRequest
	if err := json.Unmarshal(args, &request); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	if !job.ValidAbsolute(string(request.Path)) {
		return nil, nil, &job.RefusedError{Code: job.FailNoFile, Message: "the session has no file of such a path"}
	}
	var answer job.FSAnswer
	end, err := inInterpreter(ctx, s, func(i Interpreter) error {
		return i.InFiles(ctx, func(ctx context.Context, f job.FileSystem) error {
			return (&fsCall{s: s, f: f, r: request, answer: &answer}).do(ctx)
		})
	})
	return answer, end, err
}

// fsCall is one request to a file system.
type fsCall struct {
	s      *Session
	f      job.FileSystem
	r      job.FSRequest
	answer *job.FSAnswer
}

func (c *fsCall) do(ctx context.Context) (err error) {
	r, path, a := c.r, string(c.r.Path), c.answer
	switch r.Do {
	case job.FSStat:
		a.Entry, err = c.f.Stat(path)
	case job.FSList:
		a.Entries, err = c.f.List(ctx, path, job.EntryListing{Depth: r.Depth, After: string(r.After), Limit: r.Limit})
	case job.FSMakeDir:
		a.Entry, err = c.f.MakeDir(path, r.Mode, r.Parents)
	case job.FSMove:
		a.Entry, err = c.f.Move(ctx, path, string(r.To), r.Replace, r.Parents)
	case job.FSCopy:
		a.Entry, err = c.f.Copy(ctx, path, string(r.To), r.Replace, r.Parents)
	case job.FSRemove:
		err = c.f.Remove(ctx, path, r.Recursive)
	case job.FSChmod:
		a.Entry, err = c.f.Chmod(path, r.Mode)
	case job.FSRead:
		err = c.read(ctx, path)
	case job.FSPack:
		err = c.pack(ctx, path)
	case job.FSWrite:
		err = c.input(ctx, func(content io.Reader) (err error) {
			a.Entry, err = c.f.Write(ctx, path, job.WriteOptions{Mode: r.Mode, Keep: !r.Replace, Exact: !r.Parents, Attributes: r.Attributes}, content)
			return err
		})
	case job.FSUnpack:
		err = c.input(ctx, func(content io.Reader) (err error) {
			a.Files, a.Bytes, err = c.f.Unpack(ctx, path, c.s.of.r.cfg.Files.Bytes, content)
			return err
		})
	default:
		err = &job.RefusedError{Message: "the runner does not know how to do this with files: " + r.Do}
	}
	return err
}

// read keeps a part of a file as an output, for the caller that asked for it.
func (c *fsCall) read(ctx context.Context, path string) error {
	return c.f.Read(path, c.r.Offset, c.r.Length, func(e job.Entry, offset, length int64, content io.Reader) error {
		if most := c.s.of.r.cfg.Files.Bytes; length > most {
			return &job.RefusedError{
				Code: job.FailTooLarge, Message: fmt.Sprintf("the file has %d bytes from there on, and no more than %d are passed on at once; ask for a part of it (Range)", length, most),
			}
		}
		head := &beginning{r: content}
		n, err := c.keep(ctx, length, head)
		c.answer.Entry, c.answer.Offset, c.answer.Length, c.answer.Type = e, offset, n, mediaType(path, head.bytes)
		return err
	})
}

// keep stores the output of the operation.
func (c *fsCall) keep(ctx context.Context, size int64, content io.Reader) (int64, error) {
	n, err := c.s.of.r.put(ctx, &room{of: c.s.of.r.cfg.Room, claim: c.s.claim}, job.Found{Path: job.ContentName, Size: size}, content)
	if full, ok := errors.AsType[*job.FilesFullError](err); ok {
		err = &job.RefusedError{Code: full.Code(), Message: full.Error() + "; " + full.Advice()}
	}
	return n, err
}

// pack keeps a directory as an output. Its size is not known before, so room is taken as it grows.
func (c *fsCall) pack(ctx context.Context, path string) error {
	out, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := c.f.Pack(ctx, path, c.s.of.r.cfg.Files.Bytes, in)
		_ = in.CloseWithError(err)
		packed <- err
	}()
	counted := &growing{ctx: ctx, r: out, room: &room{of: c.s.of.r.cfg.Room, claim: c.s.claim}}
	n, err := c.keepGrowing(ctx, counted)
	_ = out.CloseWithError(err) // ends Pack, if it goes on
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, err) {
		err = packErr
	}
	c.answer.Length, c.answer.Type = n, "application/x-tar"
	return err
}

func (c *fsCall) keepGrowing(ctx context.Context, content *growing) (int64, error) {
	claim := c.s.claim
	n, err := c.s.of.r.cfg.Blobs.Put(ctx, job.OutputKey(claim.JobID, claim.Attempt, job.ContentName), content)
	if full, ok := errors.AsType[*job.FilesFullError](content.err); ok {
		err = &job.RefusedError{Code: full.Code(), Message: full.Error() + "; " + full.Advice()}
	}
	if refused, ok := errors.AsType[*job.RefusedError](content.err); ok {
		err = refused
	}
	return n, err
}

// growing takes room for a content as it is read.
type growing struct {
	ctx       context.Context
	r         io.Reader
	room      *room
	read, had int64
	err       error
}

func (g *growing) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if g.read += int64(n); g.read > g.had {
		const step = 16 << 20
		g.had += step
		if roomErr := g.room.take(g.ctx, step); roomErr != nil {
			n, err = 0, roomErr
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		g.err = err
	}
	return n, err
}

// input calls use with the content that came with the operation.
func (c *fsCall) input(ctx context.Context, use func(content io.Reader) error) error {
	content, err := c.s.of.r.cfg.Blobs.Open(ctx, job.InputKey(c.s.claim.JobID, 0))
	if err != nil {
		return err
	}
	source := &storeReader{r: content}
	return errors.Join(use(source), source.err, content.Close())
}
