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
	for route, commands := range map[string]func(gitRequest) [][]string{
		"POST clone": gitClone, "POST init": gitInit, "POST push": gitPush, "POST pull": gitPull, "POST reset": gitReset, "POST restore": gitRestore,
		"POST remotes":    gitAddRemote,
		"POST add":        func(q gitRequest) [][]string { return in(q, append([]string{"add", "--"}, q.Files...)) },
		"POST checkout":   func(q gitRequest) [][]string { return in(q, []string{"checkout", q.Branch, "--"}) },
		"POST branches":   func(q gitRequest) [][]string { return in(q, []string{"branch", "--", q.Name}) },
		"DELETE branches": func(q gitRequest) [][]string { return in(q, []string{"branch", "-D", "--", q.Name}) },
	} {
		method, name, _ := strings.Cut(route, " ")
		d.handle(method+" "+repo+name, gitOperation(method, name), d.git(commands))
	}
	d.handle("POST "+repo+"commit", "gitCommit", d.gitCommit)
	d.handle("GET "+repo+"branches", "gitBranches", d.gitBranches)
	d.handle("GET "+repo+"status", "gitStatus", d.gitStatus)
	d.handle("GET "+repo+"history", "gitHistory", d.gitHistory)
	d.handle("GET "+repo+"remotes", "gitRemotes", d.gitRemotes)
	d.handle("GET "+repo+"config", "gitConfig", d.gitConfig)
	d.handle("POST "+repo+"config", "gitSetConfig", d.gitSetConfig)
	d.handle("POST "+repo+"config/user", "gitSetConfig", d.gitSetUser)
	d.handle("POST "+repo+"credentials", "gitAuthenticate", d.gitAuthenticate)
}

// gitOperation is the name of a call in the logs.
func gitOperation(method, name string) string {
	if method == http.MethodDelete {
		return "gitDeleteBranch"
	}
	return "git" + strings.ToUpper(name[:1]) + name[1:]
}

// gitRequest is the body of a call of git.
type gitRequest struct {
	Path          string   `json:"path"`
	URL           string   `json:"url"`
	Branch        string   `json:"branch"`
	Name          string   `json:"name"`
	CommitID      string   `json:"commit_id"`
	Username      string   `json:"username"`
	Password      string   `json:"password"`
	SkipTLS       bool     `json:"insecure_skip_tls"`
	Depth         int      `json:"depth"`
	Files         []string `json:"files"`
	Message       string   `json:"message"`
	Author        string   `json:"author"`
	Email         string   `json:"email"`
	AllowEmpty    bool     `json:"allow_empty"`
	Bare          bool     `json:"bare"`
	InitialBranch string   `json:"initial_branch"`
	Remote        string   `json:"remote"`
	SetUpstream   bool     `json:"set_upstream"`
	Mode          string   `json:"mode"`
	Target        string   `json:"target"`
	Source        string   `json:"source"`
	Staged        *bool    `json:"staged"`
	Worktree      *bool    `json:"worktree"`
	Fetch         bool     `json:"fetch"`
	Overwrite     bool     `json:"overwrite"`
	Key           string   `json:"key"`
	Value         string   `json:"value"`
	Scope         string   `json:"scope"`
	Host          string   `json:"host"`
	Protocol      string   `json:"protocol"`
}

// check refuses what git would take for an option.
func (q gitRequest) check() error {
	for name, text := range map[string]string{
		"path": q.Path, "url": q.URL, "branch": q.Branch, "name": q.Name, "commit_id": q.CommitID, "initial_branch": q.InitialBranch, "remote": q.Remote, "target": q.Target,
		"source": q.Source, "key": q.Key, "host": q.Host, "protocol": q.Protocol, "mode": q.Mode, "username": q.Username, "password": q.Password,
	} {
		if strings.HasPrefix(text, "-") && name != "password" || strings.ContainsAny(text, "\x00\n") {
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
	if q.SkipTLS {
		args = []string{"-c", "http.sslVerify=false", "clone"}
	}
	if q.Branch != "" {
		args = append(args, "--branch", q.Branch)
	}
	if q.Depth > 0 {
		args = append(args, "--depth", strconv.Itoa(q.Depth))
	}
	all := [][]string{append(args, "--", q.URL, q.Path)}
	if q.CommitID != "" {
		all = append(all, in(q, []string{"checkout", q.CommitID, "--"})...)
	}
	return all
}

func gitInit(q gitRequest) [][]string {
	args := []string{"init"}
	if q.Bare {
		args = append(args, "--bare")
	}
	if q.InitialBranch != "" {
		args = append(args, "--initial-branch="+q.InitialBranch)
	}
	return [][]string{append(args, "--", q.Path)}
}

// gitPush pushes the present branch, or the one that is asked for, to the remote of that name.
func gitPush(q gitRequest) [][]string {
	args := []string{"push"}
	if q.SetUpstream {
		args = append(args, "--set-upstream")
	}
	if q.Remote+q.Branch != "" || q.SetUpstream {
		args = append(args, "--", firstText(q.Remote, usualRemote), firstText(q.Branch, "HEAD"))
	}
	return in(q, args)
}

func gitPull(q gitRequest) [][]string {
	args := []string{"pull"}
	if q.Remote+q.Branch != "" {
		args = append(args, "--", firstText(q.Remote, usualRemote))
	}
	if q.Branch != "" {
		args = append(args, q.Branch)
	}
	return in(q, args)
}

const usualRemote = "origin"

func gitReset(q gitRequest) [][]string {
	args := []string{"reset"}
	if q.Mode != "" && len(q.Files) == 0 {
		args = append(args, "--"+q.Mode)
	}
	if q.Target != "" {
		args = append(args, q.Target)
	}
	return in(q, append(append(args, "--"), q.Files...))
}

func gitRestore(q gitRequest) [][]string {
	args := []string{"restore"}
	if q.Staged != nil && *q.Staged {
		args = append(args, "--staged")
	}
	if q.Worktree != nil && *q.Worktree {
		args = append(args, "--worktree")
	}
	if q.Source != "" {
		args = append(args, "--source="+q.Source)
	}
	return in(q, append(append(args, "--"), q.Files...))
}

func gitAddRemote(q gitRequest) [][]string {
	all := [][]string{{"remote", "add", "--", q.Name, q.URL}}
	if q.Overwrite { // whether there is one or not
		of := "remote." + q.Name
		all = [][]string{{"config", "--replace-all", of + ".url", q.URL}, {"config", "--replace-all", of + ".fetch", "+refs/heads/*:refs/remotes/" + q.Name + "/*"}}
	}
	if q.Fetch {
		all = append(all, []string{"fetch", "--", q.Name})
	}
	return in(q, all...)
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
	return d.gitIn(r.Context(), se, q, args, "")
}

// credentials has git ask the variables for a name and a password: they are in no argument and in no file.
const credentials = `!f() { echo "username=$GIT_CREDENTIAL_USERNAME"; echo "password=$GIT_CREDENTIAL_PASSWORD"; }; f` //nolint:gosec // the names of variables

func (d *Dialect) gitIn(ctx context.Context, se job.Session, q gitRequest, args []string, stdin string) (string, error) {
	envs := map[string]string{"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_PAGER": "cat"}
	argv := []string{"git"}
	if q.Username != "" || q.Password != "" {
		envs["GIT_CREDENTIAL_USERNAME"], envs["GIT_CREDENTIAL_PASSWORD"] = q.Username, q.Password
		argv = append(argv, "-c", "credential.helper="+credentials)
	}
	how, err := d.program(ctx, se, programRequest{argv: append(argv, args...), envs: envs, stdin: stdin})
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
		{"could not read password", codeGitAuth, http.StatusUnauthorized},
		{"not a git repository", codeGitNoRepo, http.StatusNotFound},
		{"does not appear to be a git repository", codeGitNoRepo, http.StatusNotFound},
		{"cannot change to", codeGitNoRepo, http.StatusNotFound},
		{"does not exist", codeGitNoRepo, http.StatusNotFound},
		{"repository not found", codeGitNoRepo, http.StatusNotFound},
		{"could not resolve host", codeGitTransport, http.StatusBadGateway},
		{"unable to access", codeGitTransport, http.StatusBadGateway},
		{"unable to connect", codeGitTransport, http.StatusBadGateway},
		{"destination path", "git_path_exists", http.StatusConflict},
		{"a branch named", codeGitBranchExists, http.StatusConflict},
		{"already exists", "git_exists", http.StatusConflict},
		{"remote rejected", codeGitRefused, http.StatusUnprocessableEntity},
		{"[rejected]", codeGitRejected, http.StatusConflict},
		{"known to git", codeGitNoBranch, http.StatusNotFound},
		{"did not match any files", string(job.FailNoFile), http.StatusNotFound},
		{"invalid reference", codeGitNoBranch, http.StatusNotFound},
		{"not found", codeGitNoBranch, http.StatusNotFound},
		{"would be overwritten", codeGitDirty, http.StatusConflict},
		{"conflict", codeGitConflict, http.StatusConflict},
		{"could not read from remote", codeGitTransport, http.StatusBadGateway},
	} {
		if strings.Contains(lower, known.part) {
			return dialect.NewFault(known.status, known.code, "%s", clipped(text))
		}
	}
	return badRequest("%s", clipped(text))
}
