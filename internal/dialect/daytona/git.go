package daytona

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
)

// All of git runs in the sandbox, as the program that is there.

func (d *Dialect) gitRoutes() {
	const repo = box + "/git/"
	d.handle("POST "+repo+"clone", "gitClone", d.git(gitClone))
	d.handle("POST "+repo+"init", "gitInit", d.git(func(q gitRequest) [][]string { return [][]string{{"init", q.Path}} }))
	d.handle("POST "+repo+"add", "gitAdd", d.git(func(q gitRequest) [][]string { return in(q, append([]string{"add", "--"}, q.Files...)) }))
	d.handle("POST "+repo+"checkout", "gitCheckout", d.git(func(q gitRequest) [][]string { return in(q, []string{"checkout", q.Branch}) }))
	d.handle("POST "+repo+"branches", "gitCreateBranch", d.git(func(q gitRequest) [][]string { return in(q, []string{"branch", q.Name}) }))
	d.handle("DELETE "+repo+"branches", "gitDeleteBranch", d.git(func(q gitRequest) [][]string { return in(q, []string{"branch", "-D", q.Name}) }))
	d.handle("POST "+repo+"push", "gitPush", d.git(func(q gitRequest) [][]string { return in(q, []string{"push"}) }))
	d.handle("POST "+repo+"pull", "gitPull", d.git(func(q gitRequest) [][]string { return in(q, []string{"pull"}) }))
	d.handle("POST "+repo+"commit", "gitCommit", d.gitCommit)
	d.handle("GET "+repo+"branches", "gitBranches", d.gitBranches)
	d.handle("GET "+repo+"status", "gitStatus", d.gitStatus)
	d.handle("GET "+repo+"history", "gitHistory", d.gitHistory)
}

// gitRequest is the body of a call of git.
type gitRequest struct {
	Path       string   `json:"path"`
	URL        string   `json:"url"`
	Branch     string   `json:"branch"`
	Name       string   `json:"name"`
	CommitID   string   `json:"commit_id"`
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	Depth      int      `json:"depth"`
	Files      []string `json:"files"`
	Message    string   `json:"message"`
	Author     string   `json:"author"`
	Email      string   `json:"email"`
	AllowEmpty bool     `json:"allow_empty"`
}

// check refuses what git would take for an option.
func (q gitRequest) check() error {
	for name, text := range map[string]string{"path": q.Path, "url": q.URL, "branch": q.Branch, "name": q.Name, "commit_id": q.CommitID} {
		if strings.HasPrefix(text, "-") || strings.ContainsAny(text, "\x00\n") {
			return badRequest("%s: must not begin with - or have several lines", name)
		}
	}
	if q.Path == "" {
		return badRequest("path: send the path of the repository")
	}
	return nil
}

// in has git work in the repository of a request.
func in(q gitRequest, args ...[]string) [][]string {
	for i := range args {
		args[i] = append([]string{"-C", q.Path}, args[i]...)
	}
	return args
}

func gitClone(q gitRequest) [][]string {
	args := []string{"clone"}
	if q.Branch != "" {
		args = append(args, "--branch", q.Branch)
	}
	if q.Depth > 0 {
		args = append(args, "--depth", strconv.Itoa(q.Depth))
	}
	all := [][]string{append(args, "--", q.URL, q.Path)}
	if q.CommitID != "" {
		all = append(all, in(q, []string{"checkout", q.CommitID})...)
	}
	return all
}

// git answers a call that has git do something, one command after the other.
func (d *Dialect) git(commands func(gitRequest) [][]string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var q gitRequest
		if err := decode(r, &q); err != nil {
			return err
		}
		if err := q.check(); err != nil {
			return err
		}
		for _, args := range commands(q) {
			if _, err := d.runGit(r, q, args); err != nil {
				return err
			}
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
}

// runGit runs git and returns its output.
func (d *Dialect) runGit(r *http.Request, q gitRequest, args []string) (string, error) {
	se, err := d.live(r)
	if err != nil {
		return "", err
	}
	return d.gitIn(r.Context(), se, q, args)
}

// credentials has git ask the variables for a name and a password: they are in no argument and in no file.
const credentials = `!f() { echo "username=$GIT_CREDENTIAL_USERNAME"; echo "password=$GIT_CREDENTIAL_PASSWORD"; }; f` //nolint:gosec // the names of variables

func (d *Dialect) gitIn(ctx context.Context, se job.Session, q gitRequest, args []string) (string, error) {
	envs := map[string]string{"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_PAGER": "cat"}
	argv := []string{"git"}
	if q.Username != "" || q.Password != "" {
		envs["GIT_CREDENTIAL_USERNAME"], envs["GIT_CREDENTIAL_PASSWORD"] = q.Username, q.Password
		argv = append(argv, "-c", "credential.helper="+credentials)
	}
	how, err := d.program(ctx, se.ID, programRequest{argv: append(argv, args...), envs: envs})
	switch {
	case err != nil:
		return "", err
	case how.timedOut:
		return "", timedOut()
	case how.code == 127:
		return "", dialect.NewFault(http.StatusNotImplemented, "not_supported", "there is no git in this sandbox")
	case how.code != 0:
		return "", gitFault(firstText(strings.TrimSpace(how.stderr), strings.TrimSpace(how.stdout), "git failed"))
	}
	return how.stdout, nil
}

// gitFault words what git says.
func gitFault(text string) error {
	lower := strings.ToLower(text)
	for _, known := range []struct {
		part, code string
		status     int
	}{
		{"authentication failed", codeGitAuth, http.StatusUnauthorized},
		{"could not read username", codeGitAuth, http.StatusUnauthorized},
		{"not a git repository", codeGitNoRepo, http.StatusNotFound},
		{"cannot change to", codeGitNoRepo, http.StatusNotFound},
		{"already exists", codeGitBranchExists, http.StatusConflict},
		{"did not match any file", codeGitNoBranch, http.StatusNotFound},
		{"not found", codeGitNoBranch, http.StatusNotFound},
		{"would be overwritten", codeGitDirty, http.StatusConflict},
		{"conflict", codeGitConflict, http.StatusConflict},
		{"unable to access", codeGitTransport, http.StatusBadGateway},
		{"could not read from remote", codeGitTransport, http.StatusBadGateway},
		{"could not resolve host", codeGitTransport, http.StatusBadGateway},
	} {
		if strings.Contains(lower, known.part) {
			return dialect.NewFault(known.status, known.code, "%s", clipped(text))
		}
	}
	return badRequest("%s", clipped(text))
}

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
	out, err := d.runGit(r, q, in(q, []string{"branch", "--format=%(refname:short)"})[0])
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string][]string{"branches": append([]string{}, strings.Fields(out)...)})
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
			state.CurrentBranch = text
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
