package job

import (
	"strings"
	"time"
)

// The operations on the files of a session, which the API asks a runner for. Contents are
// blobs: of what is put there, those of the operation's inputs, and of what is read, the
// output of that path.
const (
	OpPutFiles   = "put_files"   // the files of its spec
	OpListFiles  = "list_files"  // SessionFilesPage
	OpReadFile   = "read_file"   // SessionPath; the answer is a SessionFile
	OpRemoveFile = "remove_file" // SessionPath
)

// SessionPath names a file of a session: by its bytes, which JSON would change as a string.
type SessionPath struct {
	Path []byte `json:"path"`
}

// SessionFilesPage asks for files whose paths come after one.
type SessionFilesPage struct {
	After []byte `json:"after,omitempty"`
	Limit int    `json:"limit"`
}

// SessionFile is a file in the working directory of a session.
type SessionFile struct {
	File
	Modified time.Time `json:"modified,omitzero" doc:"Last change of its content."`
	// Sum tells contents apart; only of a file that was read.
	Sum string `json:"sum,omitempty"`
}

// SessionFiles are some of the files of a session, by path.
type SessionFiles struct {
	Files      []SessionFile `json:"files"`
	Incomplete bool          `json:"incomplete,omitempty"` // there is too much to look at all of it
	Next       []byte        `json:"next,omitempty"`       // path of the last if there are more
}

// AcceptFiles checks files that are to be put into the working directory of a session.
func (l Limits) AcceptFiles(files []FileRequest) ([]Input, error) {
	var v validation
	inputs := l.inputs(&v, files, l.MaxQuota.DiskBytes)
	if len(v.fields) > 0 {
		return nil, &ValidationError{Fields: v.fields}
	}
	return inputs, nil
}

// AcceptPath checks where a file is to be put in the working directory of a session.
func (l Limits) AcceptPath(path string) error {
	var v validation
	if checkInputPath(&v, "file.path", path); len(v.fields) > 0 {
		return &ValidationError{Fields: v.fields}
	}
	return nil
}

// ValidPath reports whether there can be a file of this path below a working directory.
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

// maxLivePath is what the kernel takes.
const maxLivePath = 4095 // bytes
