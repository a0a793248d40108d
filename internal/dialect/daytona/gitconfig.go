package daytona

import (
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// remote is a remote repository as the SDKs know it.
type remote struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

func (d *Dialect) gitRemotes(w http.ResponseWriter, r *http.Request) error {
	q, err := queryGit(r)
	if err != nil {
		return err
	}
	out, err := d.runGit(r, q, in(q, []string{"remote", "-v"})[0])
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string][]remote{"remotes": remotesOf(out)})
}

// remotesOf reads the list of git: the name, the address and in brackets what it is for.
func remotesOf(out string) []remote {
	all := []remote{}
	for line := range strings.Lines(out) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if url, ok := strings.CutSuffix(rest, " (fetch)"); ok {
			all = append(all, remote{name, url})
		}
	}
	return all
}

// scoped is where a setting of git belongs: before the command for a repository, and among its arguments.
func scoped(q gitRequest, args ...string) ([]string, error) {
	switch q.Scope {
	case "", "global":
		return append([]string{"config", "--global"}, args...), nil
	case "system":
		return append([]string{"config", "--system"}, args...), nil
	case "local":
		if q.Path == "" {
			return nil, badRequest("path: send the path of the repository whose settings are meant")
		}
		return append([]string{"-C", q.Path, "config", "--local"}, args...), nil
	}
	return nil, badRequest("scope: send global, local or system")
}

// checkAnywhere checks a request that needs no repository.
func (q gitRequest) checkAnywhere() error {
	q.Path = firstText(q.Path, ".")
	return q.check()
}

func (d *Dialect) gitConfig(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	q := gitRequest{Path: query.Get("path"), Key: query.Get("key"), Scope: query.Get("scope")}
	if err := q.checkAnywhere(); err != nil {
		return err
	}
	if !strings.Contains(q.Key, ".") {
		return badRequest("key: send the name of a setting, such as user.name")
	}
	// The default is what is answered where the setting is missing, so that this is no error of git.
	args, err := scoped(q, "--default", "", "--get", q.Key)
	if err != nil {
		return err
	}
	out, err := d.runGit(r, q, args)
	if err != nil {
		return err
	}
	answer := map[string]*string{"value": nil}
	if value := strings.TrimSuffix(out, "\n"); value != "" {
		answer["value"] = &value
	}
	return answerJSON(w, http.StatusOK, answer)
}

func (d *Dialect) gitSetConfig(w http.ResponseWriter, r *http.Request) error {
	var q gitRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if !strings.Contains(q.Key, ".") {
		return badRequest("key: send the name of a setting, such as user.name")
	}
	return d.setConfig(w, r, q, [2]string{q.Key, q.Value})
}

func (d *Dialect) gitSetUser(w http.ResponseWriter, r *http.Request) error {
	var q gitRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	return d.setConfig(w, r, q, [2]string{"user.name", q.Name}, [2]string{"user.email", q.Email})
}

func (d *Dialect) setConfig(w http.ResponseWriter, r *http.Request, q gitRequest, all ...[2]string) error {
	if err := q.checkAnywhere(); err != nil {
		return err
	}
	for _, one := range all {
		args, err := scoped(q, "--replace-all", one[0], one[1])
		if err != nil {
			return err
		}
		if _, err := d.runGit(r, q, args); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// gitAuthenticate has git keep a name and a password for a host, in a file of the sandbox.
func (d *Dialect) gitAuthenticate(w http.ResponseWriter, r *http.Request) error {
	var q gitRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.checkAnywhere(); err != nil {
		return err
	}
	if q.Username == "" || q.Password == "" {
		return badRequest("username, password: send both")
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	about := "protocol=" + firstText(q.Protocol, "https") + "\nhost=" + firstText(q.Host, "github.com") + "\nusername=" + q.Username + "\npassword=" + q.Password + "\n\n"
	if err := d.approve(r, se, about); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (d *Dialect) approve(r *http.Request, se job.Session, about string) error {
	if _, err := d.gitIn(r.Context(), se, gitRequest{}, []string{"config", "--global", "credential.helper", "store"}, ""); err != nil {
		return err
	}
	_, err := d.gitIn(r.Context(), se, gitRequest{}, []string{"credential", "approve"}, about)
	return err
}
