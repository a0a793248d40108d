package job

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Input is a file that comes with a request. It is in the working directory before the code
// begins. Its content is the blob at InputKey.
type Input struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	// Case is the number of the case that it is for, from 1; 0 if it is for all.
	Case int `json:"case,omitempty"`
}

// Contents are the contents of inputs, in their order, until they are stored as blobs. It is nil
// if they are stored already.
type Contents [][]byte

// File is a file that an execution created or changed. Its content is a blob.
type File struct {
	Path    string `json:"path" doc:"Its path below the working directory."`
	Escaped bool   `json:"escaped,omitempty" doc:"The path is no UTF-8: its wrong bytes are written as \\xNN, and backslashes are doubled."`
	Size    int64  `json:"size" doc:"Its size in bytes."`
	Type    string `json:"type" doc:"Its media type, as far as name and first bytes show."`
	// URL is not recorded: answers have it.
	URL string `json:"url,omitempty" doc:"Where to get it: its path, percent-encoded. Absent in events, archives and webhooks."`
}

// FilesDropped counts the files of an execution that were not kept.
type FilesDropped struct {
	Count      int    `json:"count" doc:"Files that were seen and not kept."`
	Bytes      int64  `json:"bytes" doc:"Their sizes together, in bytes."`
	Incomplete bool   `json:"incomplete,omitempty" doc:"There was more than was looked at, so there may be others."`
	First      string `json:"first,omitempty" doc:"Path of the first of them."`
	Reason     string `json:"reason" doc:"Why the first of them was not kept."`
	Full       bool   `json:"full,omitempty" doc:"There was no room for the first of them beside other files that are kept."`
}

// Found is a file of a working directory that is to be kept.
type Found struct {
	Path     string // raw bytes; below the working directory
	Size     int64
	Modified time.Time // last change of its content; only if it was requested
}

// FileLimits bound the files of one execution that are kept.
type FileLimits struct {
	Files int   // number of files
	Bytes int64 // their sizes together
}

const (
	maxInputPath = 1024 // bytes
	maxName      = 255  // bytes of one name, as on every file system
)

// FileRequest is a file as a caller sends it, with one of its contents.
type FileRequest struct {
	Path          string
	Content       *string
	ContentBase64 *string
	Data          []byte // the content itself; only if neither is given
}

// NewFile describes a file by the bytes of its path.
func NewFile(path string, size int64, mediaType string) File {
	f := File{Path: path, Size: size, Type: mediaType}
	if utf8.ValidString(path) {
		return f
	}
	var b strings.Builder
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, path[0])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(path[:n])
		}
		path = path[n:]
	}
	f.Path, f.Escaped = b.String(), true
	return f
}

// Raw returns the bytes of the file's path.
func (f File) Raw() string {
	if !f.Escaped {
		return f.Path
	}
	var b strings.Builder
	for s := f.Path; len(s) > 0; {
		switch {
		case strings.HasPrefix(s, `\\`):
			b.WriteByte('\\')
			s = s[2:]
		case strings.HasPrefix(s, `\x`) && len(s) >= 4:
			n, err := strconv.ParseUint(s[2:4], 16, 8)
			if err != nil {
				return f.Path // only NewFile writes them
			}
			b.WriteByte(byte(n))
			s = s[4:]
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}

// FindFile returns the file that a caller names by path: by its bytes, or by the path as it is
// listed.
func FindFile(files []File, path string) (int, bool) {
	listed := -1
	for i, f := range files {
		if f.Raw() == path {
			return i, true
		}
		if f.Escaped && f.Path == path {
			listed = i
		}
	}
	return listed, listed >= 0
}

// KeyPrefix begins the keys of all blobs of a job. Its first part spreads jobs over directories,
// because the end of an id is random.
func KeyPrefix(id string) string {
	return id[max(0, len(id)-2):] + "/" + id + "."
}

// OwnerOfKey returns the id of the job whose blob it is; empty for a key of another form.
func OwnerOfKey(key string) string {
	_, name, _ := strings.Cut(key, "/")
	id, _, ok := strings.Cut(name, ".")
	if !ok || !strings.HasPrefix(key, KeyPrefix(id)) {
		return ""
	}
	return id
}

// InputKey is the key of the blob of a job's i-th input.
func InputKey(id string, i int) string { return KeyPrefix(id) + "in." + strconv.Itoa(i) }

// OutputKey is the key of the blob of a file of an attempt, by the bytes of its path. It differs
// between attempts, so one that lost its claim overwrites no file of the next.
func OutputKey(id string, attempt int, path string) string {
	const length = 16 // two equal digests could benefit only the job's owner
	sum := sha256.Sum256([]byte(path))
	return KeyPrefix(id) + strconv.Itoa(attempt) + "." + hex.EncodeToString(sum[:length])
}

// OutputKey is the key of the blob of a file that the job's last attempt left.
func (j Job) OutputKey(f File) string { return OutputKey(j.ID, j.Attempt, f.Raw()) }

// inputs checks the files that come with a request. They must fit in disk.
func (l Limits) inputs(v *validation, files []FileRequest, disk int64) ([]Input, Contents) {
	if len(files) > l.MaxInputs {
		v.add("files", "has %d files, the limit is %d", len(files), l.MaxInputs)
		return nil, nil
	}
	var inputs []Input
	var contents Contents
	var size, blocks int64
	paths := make(map[string]bool, len(files)) // true for files, false for directories
	for i, f := range files {
		field := fmt.Sprintf("files[%d]", i)
		content := f.content(v, field)
		size += int64(len(content))
		blocks += Footprint(int64(len(content)))
		if checkInputPath(v, field+".path", f.Path) {
			claimPath(v, field+".path", paths, f.Path)
		}
		inputs, contents = append(inputs, Input{Path: f.Path, Size: int64(len(content))}), append(contents, content)
	}
	switch {
	case size > l.MaxInputBytes:
		v.add("files", "is %d bytes long in all, the limit is %d", size, l.MaxInputBytes)
	case len(files) > 0 && blocks > disk:
		v.add("files", "does not fit into limits.diskBytes, which is %d", disk)
	}
	return inputs, contents
}

// block is the least room of a file.
const block = 4096

// Footprint is the room of a file of this size in the blob store.
func Footprint(size int64) int64 { return (size/block + 1) * block }

func (f FileRequest) content(v *validation, field string) []byte {
	switch {
	case f.Content != nil && f.ContentBase64 != nil:
		v.add(field, "has content and contentBase64; send one of them")
	case f.Content != nil:
		return []byte(*f.Content)
	case f.ContentBase64 != nil:
		data, err := base64.StdEncoding.DecodeString(*f.ContentBase64)
		if err != nil {
			v.add(field+".contentBase64", "is not standard base64 with padding: %s", err)
		}
		return data
	case f.Data == nil:
		v.add(field, "has no content; send content (text) or contentBase64, an empty one for an empty file")
	}
	return f.Data
}

// checkInputPath accepts a path that names a file below the working directory.
func checkInputPath(v *validation, field, path string) bool {
	problem := ""
	switch {
	case path == "":
		problem = "is empty; send the name of the file in the working directory"
	case len(path) > maxInputPath:
		problem = fmt.Sprintf("is %d bytes long, the limit is %d", len(path), maxInputPath)
	case !utf8.ValidString(path):
		problem = "is not valid UTF-8"
	case strings.IndexByte(path, 0) >= 0:
		problem = "contains a NUL byte, which a file name cannot; remove it"
	case path[0] == '/':
		problem = "is absolute; send it relative to the working directory, as data/in.csv"
	}
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case problem != "":
		case name == "":
			problem = "has an empty name between or after slashes; send it as data/in.csv"
		case name == "." || name == "..":
			problem = fmt.Sprintf("has the name %q, and files stay in the working directory; send it as data/in.csv", name)
		case len(name) > maxName:
			problem = fmt.Sprintf("has a name of %d bytes, the limit is %d", len(name), maxName)
		}
	}
	if problem != "" {
		v.add(field, "%s", problem)
	}
	return problem == ""
}

// claimPath records a file and the directories that it needs. It refuses a name that is already
// used as the other kind, or as a file.
func claimPath(v *validation, field string, paths map[string]bool, path string) {
	if _, taken := paths[path]; taken {
		v.add(field, "%s is there already, as another file's path or directory; send each path once", quote(path))
		return
	}
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		if paths[path[:i]] {
			v.add(field, "%s is a file already and cannot be a directory, too", quote(path[:i]))
			return
		}
		paths[path[:i]] = false
	}
	paths[path] = true
}
