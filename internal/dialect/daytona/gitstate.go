package daytona

import (
	"net/http"
	"strconv"
	"strings"
)

func (d *Dialect) gitCommit(w http.ResponseWriter, r *http.Request) error {
	var q gitRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	args := []string{"-c", "user.name=" + q.Author, "-c", "user.email=" + q.Email, "commit", "-m", q.Message}
	if q.AllowEmpty {
		args = append(args, "--allow-empty")
	}
	if _, err := d.runGit(r, q, in(q, args)[0]); err != nil {
		return err
	}
	hash, err := d.runGit(r, q, in(q, []string{"rev-parse", "HEAD"})[0])
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"hash": strings.TrimSpace(hash)})
}

// queryGit reads a call whose path is in the query.
func queryGit(r *http.Request) (gitRequest, error) {
	q := gitRequest{Path: r.URL.Query().Get("path")}
	return q, q.check()
}

func (d *Dialect) gitBranches(w http.ResponseWriter, r *http.Request) error {
	q, err := queryGit(r)
	if err != nil {
		return err
	}
	out, err := d.runGit(r, q, in(q, []string{"branch", "--format=%(HEAD) %(refname:short)"})[0])
	if err != nil {
		return err
	}
	answer := struct {
		Branches []string `json:"branches"`
		Current  string   `json:"current"`
	}{Branches: []string{}}
	for line := range strings.Lines(out) {
		name, current := strings.CutPrefix(line, "*")
		name = strings.TrimSpace(name)
		if name == "" || strings.HasPrefix(name, "(") { // a head without a branch
			continue
		}
		answer.Branches = append(answer.Branches, name)
		if current {
			answer.Current = name
		}
	}
	return answerJSON(w, http.StatusOK, answer)
}

// fileStatus is the state of one file.
type fileStatus struct {
	Name     string `json:"name"`
	Extra    string `json:"extra"`
	Staging  string `json:"staging"`
	Worktree string `json:"worktree"`
}

// gitState is the state of a repository.
type gitState struct {
	CurrentBranch   string       `json:"currentBranch"`
	FileStatus      []fileStatus `json:"fileStatus"`
	Ahead           int          `json:"ahead"`
	Behind          int          `json:"behind"`
	BranchPublished bool         `json:"branchPublished"`
	Detached        bool         `json:"detached"`
	Upstream        string       `json:"upstream"`
}

func (d *Dialect) gitStatus(w http.ResponseWriter, r *http.Request) error {
	q, err := queryGit(r)
	if err != nil {
		return err
	}
	out, err := d.runGit(r, q, in(q, []string{"status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all"})[0])
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, stateOfGit(out))
}

// statusOf is a letter of git's status in words.
func statusOf(letter byte) string {
	switch letter {
	case 'M', 'T':
		return "Modified"
	case 'A':
		return "Added"
	case 'D':
		return "Deleted"
	case 'R':
		return "Renamed"
	case 'C':
		return "Copied"
	case 'U':
		return "Updated but unmerged"
	case '?':
		return "Untracked"
	}
	return "Unmodified"
}

// stateOfGit reads git's status in its form for programs, version 2, with zero bytes.
func stateOfGit(out string) gitState {
	state := gitState{FileStatus: []fileStatus{}}
	items := strings.Split(out, "\x00")
	for i := 0; i < len(items); i++ {
		item := items[i]
		if item == "" {
			continue
		}
		if text, ok := strings.CutPrefix(item, "# branch.head "); ok {
			state.CurrentBranch, state.Detached = text, text == "(detached)"
			continue
		}
		if text, ok := strings.CutPrefix(item, "# branch.upstream "); ok {
			state.Upstream = text
			continue
		}
		if text, ok := strings.CutPrefix(item, "# branch.ab "); ok {
			ahead, behind, _ := strings.Cut(text, " ")
			state.Ahead, _ = strconv.Atoi(ahead)
			n, _ := strconv.Atoi(behind)
			state.Behind, state.BranchPublished = -n, true
			continue
		}
		// The name is behind a number of fields that depends on the kind.
		fields := map[byte]int{'1': 9, '2': 10, 'u': 11}[item[0]]
		parts := strings.SplitN(item, " ", fields)
		switch {
		case item[0] == '?' && len(item) > 2:
			state.FileStatus = append(state.FileStatus, fileStatus{item[2:], "", "Untracked", "Untracked"})
		case fields > 0 && len(parts) == fields && len(parts[1]) == 2:
			status := fileStatus{Name: parts[fields-1], Staging: statusOf(parts[1][0]), Worktree: statusOf(parts[1][1])}
			if item[0] == '2' && i+1 < len(items) {
				i++
				status.Extra = items[i]
			}
			state.FileStatus = append(state.FileStatus, status)
		}
	}
	return state
}

// gitCommitView is a commit as the SDKs know it.
type gitCommitView struct {
	Hash      string `json:"hash"`
	Author    string `json:"author"`
	Email     string `json:"email"`
	Message   string `json:"message"`
	Timestamp string `json:"timestamp"`
}

func (d *Dialect) gitHistory(w http.ResponseWriter, r *http.Request) error {
	q, err := queryGit(r)
	if err != nil {
		return err
	}
	out, err := d.runGit(r, q, in(q, []string{"log", "-n", "1000", "-z", "--format=%H%x1f%an%x1f%ae%x1f%aI%x1f%B"})[0])
	if err != nil {
		return err
	}
	commits := []gitCommitView{}
	for item := range strings.SplitSeq(out, "\x00") {
		if f := strings.SplitN(item, "\x1f", 5); len(f) == 5 {
			commits = append(commits, gitCommitView{f[0], f[1], f[2], strings.TrimSpace(f[4]), f[3]})
		}
	}
	return answerJSON(w, http.StatusOK, commits)
}
