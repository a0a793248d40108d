package job

import (
	"strings"
	"time"
)

// Operations on the files of a session, which the API requests from a runner. Contents are
// blobs: a put has them as the operation's inputs, a read as the output of that path.
const (
	OpPutFiles   = "put_files"   // the files of its spec
	OpListFiles  = "list_files"  // SessionFilesPage
	OpReadFile   = "read_file"   // SessionPath; the answer is a SessionFile
	OpRemoveFile = "remove_file" // SessionPath
)

// SessionPath names a file of a session by its bytes, which JSON would change as a string.
type SessionPath struct {
	Path []byte `json:"path"`
}

// SessionFilesPage requests files whose paths come after one.
type SessionFilesPage struct {
	After []byte `json:"after,omitempty"`
	Limit int    `json:"limit"`
}

// SessionFile is a file in the working directory of a session.
type SessionFile struct {
	File
	Modified time.Time `json:"modified,omitzero" doc:"Last change of its content."`
	// Sum distinguishes contents; only of a file that was read.
	Sum string `json:"sum,omitempty"`
}

// SessionFiles are some of the files of a session, by path.
type SessionFiles struct {
	Files      []SessionFile `json:"files"`
	Incomplete bool          `json:"incomplete,omitempty"` // the directory exceeds the limit of a listing
	Next       []byte        `json:"next,omitempty"`       // path of the last if there are more
}

// AcceptFiles checks files for the working directory of a session.
func (l Limits) AcceptFiles(files []FileRequest) ([]Input, Contents, error) {
	var v validation
	inputs, contents := l.inputs(&v, files, l.MaxQuota.DiskBytes)
	if len(v.fields) > 0 {
		return nil, nil, &ValidationError{Fields: v.fields}
	}
	return inputs, contents, nil
}

// AcceptPath checks the path of a file for the working directory of a session.
func (l Limits) AcceptPath(path string) error {
	var v validation
	if checkInputPath(&v, "file.path", path); len(v.fields) > 0 {
		return &ValidationError{Fields: v.fields}
	}
	return nil
}

// ValidPath reports whether a file below a working directory can have this path.
func ValidPath(path string) bool {
	if path == "" || len(path) > maxLivePath || strings.IndexByte(path, 0) >= 0 {
		return false
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxName {
			return false
		}
	}
	return true
}

// maxLivePath is the kernel's limit.
const maxLivePath = 4095 // bytes
