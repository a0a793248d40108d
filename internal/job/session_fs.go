package job

import (
	"context"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// The types of an Entry.
const (
	EntryFile      = "file"
	EntryDirectory = "directory"
	EntryLink      = "link"
	EntryPipe      = "pipe"
	EntrySocket    = "socket"
	EntryDevice    = "device"
)

// Entry describes what is at a path of a session: see package sandboxfs.
type Entry struct {
	Path     string    `json:"path" doc:"Its absolute path, as the code of the session has it at the sandbox level strict."`
	Escaped  bool      `json:"escaped,omitempty" doc:"The path is no UTF-8: its wrong bytes are written as \\xNN, and backslashes are doubled."`
	Type     string    `json:"type" enum:"file,directory,link,pipe,socket,device" doc:"Its type. A link is a symbolic link."`
	Size     int64     `json:"size" doc:"Its size in bytes. Of a link, the length of its target."`
	Mode     string    `json:"mode" doc:"Its permissions as octal digits, such as 0644."`
	Owner    string    `json:"owner" doc:"Name of its owner: user is the user of the code. A number is a user without a name."`
	Group    string    `json:"group" doc:"The same for its group."`
	Modified time.Time `json:"modified" doc:"Last change of its content."`
	Changed  time.Time `json:"changed" doc:"Last change of its content, mode, owner or name."`
	Accessed time.Time `json:"accessed" doc:"Last access, as far as the file system notes it."`
	Target   string    `json:"target,omitempty" doc:"Of a link: the path that it contains."`
	// TargetEscaped: Target is written as Path is with Escaped.
	TargetEscaped bool   `json:"targetEscaped,omitempty" doc:"The target is no UTF-8, and is written as an escaped path is."`
	TargetType    string `json:"targetType,omitempty" doc:"Of a link: the type of its target, within the directories of the session. Absent if it leads nowhere."`
	// Attributes have the names that os.listxattr has, of the user namespace.
	Attributes     map[string]string `json:"attributes,omitempty" doc:"Of a file or directory: its extended attributes whose names begin with user. and whose values are UTF-8; at most 64, with 4 KiB together."`
	MoreAttributes bool              `json:"moreAttributes,omitempty" doc:"It has further ones of such names, which are not shown."`
}

// SetPath sets the path by its bytes.
func (e *Entry) SetPath(raw string) { e.Path, e.Escaped = EscapePath(raw) }

// SetTarget sets the target by its bytes.
func (e *Entry) SetTarget(raw string) { e.Target, e.TargetEscaped = EscapePath(raw) }

// RawPath returns the bytes of the path.
func (e Entry) RawPath() string { return File{Path: e.Path, Escaped: e.Escaped}.Raw() }

// EscapePath returns a path as text, and reports whether its bytes are escaped, because they are
// no UTF-8.
func EscapePath(raw string) (path string, escaped bool) {
	if utf8.ValidString(raw) {
		return raw, false
	}
	f := NewFile(raw, 0, "")
	return f.Path, f.Escaped
}

// ValidAbsolute reports whether a path can be one of a session: not empty, no longer than the
// kernel allows, without a zero byte.
func ValidAbsolute(path string) bool {
	return path != "" && len(path) <= maxLivePath && strings.IndexByte(path, 0) < 0
}

// EntryListing requests the entries below a directory.
type EntryListing struct {
	Depth int    // levels below the directory; at least 1
	After string // the bytes of the path of the last entry of the page before; empty at the first
	Limit int    // entries
}

// Entries are some of the entries below a directory, depth-first and by name.
type Entries struct {
	Entries    []Entry `json:"entries"`
	Incomplete bool    `json:"incomplete,omitempty"` // there is more than is looked at
	More       bool    `json:"more,omitempty"`       // there is a next page
}

// WriteOptions are the options of writing one file.
type WriteOptions struct {
	Mode  uint32 // permissions; 0 keeps those of the file that is replaced, or is 0644
	Keep  bool   // an existing entry is not replaced
	Exact bool   // no missing directories are made
	// Attributes are the extended attributes of the file: see CheckAttributes. Those of a file that is replaced go with it.
	Attributes map[string]string
}

// The types of a FileEvent.
const (
	FileCreated  = "create"
	FileWritten  = "write"
	FileRemoved  = "remove"
	FileRenamed  = "rename"
	FileChmod    = "chmod"
	FileOverflow = "overflow"
	FileReady    = "ready" // changes are seen from here on
)

// FileEvent is one change below a directory that is watched.
type FileEvent struct {
	Type      string `json:"type" enum:"create,write,remove,rename,chmod,overflow" doc:"The change. rename: the entry has left this name; create follows if its new name is watched, too. overflow: some changes were too many to be reported."`
	Path      string `json:"path,omitempty" doc:"Path of the entry, below the directory that is watched. It is . for the directory itself."`
	Escaped   bool   `json:"escaped,omitempty" doc:"The path is no UTF-8: its wrong bytes are written as \\xNN, and backslashes are doubled."`
	Directory bool   `json:"directory,omitempty" doc:"The entry is a directory."`
}

// FileSystem is the file system of a live session. Its methods take absolute paths, or paths below the
// working directory. They return a RefusedError for an operation that the present state of the files
// does not allow. They are safe for concurrent use, and beside executions.
type FileSystem interface {
	Stat(path string) (Entry, error)
	List(ctx context.Context, path string, o EntryListing) (Entries, error)
	Read(path string, offset, length int64, use func(e Entry, offset, length int64, content io.Reader) error) error
	Write(ctx context.Context, path string, o WriteOptions, content io.Reader) (Entry, error)
	MakeDir(path string, mode uint32, parents bool) (Entry, error)
	Move(ctx context.Context, from, to string, replace, parents bool) (Entry, error)
	Copy(ctx context.Context, from, to string, replace, parents bool) (Entry, error)
	Remove(ctx context.Context, path string, recursive bool) error
	Chmod(path string, mode uint32) (Entry, error)
	Pack(ctx context.Context, path string, most int64, to io.Writer) error
	Unpack(ctx context.Context, path string, most int64, content io.Reader) (files int, bytes int64, err error)
	Watch(ctx context.Context, path string, recursive bool, ready func(), report func([]FileEvent) error) error
	// Snapshot writes the working directory in the form that Restore puts into an empty one. Fingerprint returns a number that
	// changes with the directory; 0 if it is unknown.
	Snapshot(ctx context.Context, to io.Writer) (TreeStats, error)
	Restore(ctx context.Context, content io.Reader) error
	Fingerprint(ctx context.Context) (uint64, error)
}

// The operations on a session that do one FSRequest. Their answers are FSAnswers. The second one leaves an output.
const (
	OpFileSystem     = "file_system"
	OpReadFileSystem = "read_file_system"
)

// OpWatchFiles watches the directory of an FSRequest. Each FileEvent is an event of its job.
const OpWatchFiles = "watch_files"

// LeavesOutput reports whether an operation leaves an output, which its caller fetches.
func LeavesOutput(op string) bool { return op == OpReadFile || op == OpReadFileSystem }

// The things that an FSRequest does.
const (
	FSStat    = "stat"
	FSList    = "list"
	FSRead    = "read"  // the content is the output ContentName of the operation
	FSWrite   = "write" // the content is the first input of the operation
	FSMakeDir = "mkdir"
	FSMove    = "move"
	FSCopy    = "copy"
	FSRemove  = "remove"
	FSChmod   = "chmod"
	FSPack    = "pack"   // as FSRead
	FSUnpack  = "unpack" // as FSWrite
)

// ContentName is the path of the output that an FSRequest leaves.
const ContentName = "content"

// FSRequest is one thing to do with the file system of a session. Paths are bytes, which JSON would change as
// strings.
type FSRequest struct {
	Do        string `json:"do"`
	Path      []byte `json:"path"`
	To        []byte `json:"to,omitempty"`
	Offset    int64  `json:"offset,omitempty"` // of a part of a file; see FileSystem.Read
	Length    int64  `json:"length,omitempty"`
	Depth     int    `json:"depth,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	After     []byte `json:"after,omitempty"`
	Mode      uint32 `json:"mode,omitempty"`
	Recursive bool   `json:"recursive,omitempty"`
	Replace   bool   `json:"replace,omitempty"`
	Parents   bool   `json:"parents,omitempty"`
	// Attributes are those of WriteOptions. They are text.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// FSAnswer is the answer to an FSRequest. Which fields it has depends on the request.
type FSAnswer struct {
	Entry   Entry   `json:"entry,omitzero"`
	Entries Entries `json:"entries,omitzero"`
	// Offset and Length are the part of a file that was read.
	Offset int64  `json:"offset,omitempty"`
	Length int64  `json:"length,omitempty"`
	Type   string `json:"type,omitempty"` // media type of the file that was read
	// Files and Bytes are those of an archive.
	Files int   `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
}
