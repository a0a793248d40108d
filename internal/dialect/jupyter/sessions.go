package jupyter

import (
	"net/http"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// A session of Jupyter binds a path to a kernel. It has the id of its kernel, and its fields are in the metadata of that.

func (d *Dialect) sessionRoutes() {
	d.handle("GET /api/sessions", "listSessions", d.listSessions)
	d.handle("POST /api/sessions", "startSession", d.startSession)
	d.handle("GET /api/sessions/{id}", "getSession", d.getSession)
	d.handle("PATCH /api/sessions/{id}", "changeSession", d.changeSession)
	d.handle("DELETE /api/sessions/{id}", "deleteSession", d.deleteKernel)
}

type sessionView struct {
	ID       string            `json:"id"`
	Path     string            `json:"path"`
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	Kernel   kernel            `json:"kernel"`
	Notebook map[string]string `json:"notebook"` // of older clients
}

func (d *Dialect) viewOf(se job.Session) sessionView {
	n := notesOf(se)
	return sessionView{se.ID, n.Path, n.Name, n.Type, d.kernelOf(se), map[string]string{"path": n.Path, "name": n.Name}}
}

type sessionBody struct {
	Path     string `json:"path"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	Notebook struct {
		Path string `json:"path"`
		Name string `json:"name"`
	} `json:"notebook"`
	Kernel struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"kernel"`
}

func (d *Dialect) listSessions(w http.ResponseWriter, r *http.Request) error {
	all, err := d.kernels(r)
	if err != nil {
		return err
	}
	answer := []sessionView{}
	for _, se := range all {
		if notesOf(se).Path != "" {
			answer = append(answer, d.viewOf(se))
		}
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// startSession returns the session of a path, with a kernel that there is, or a new one.
func (d *Dialect) startSession(w http.ResponseWriter, r *http.Request) error {
	var body sessionBody
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	n := notes{Spec: body.Kernel.Name, Path: body.Path, Name: body.Name, Type: body.Type}
	if n.Path == "" {
		n.Path, n.Type = body.Notebook.Path, "notebook"
	}
	switch {
	case n.Path == "":
		return refuse("path: send the path of the notebook or the console")
	case n.Type == "":
		n.Type = "notebook"
	}
	var se job.Session
	var err error
	if body.Kernel.ID != "" {
		if se, err = d.live(r, body.Kernel.ID); err == nil {
			n.Spec = notesOf(se).Spec
			se, err = d.note(r, se, n)
		}
	} else {
		var same []job.Session
		if same, err = d.kernels(r, job.MetadataMatch{Name: pathMember, Value: n.Path}); err == nil && len(same) > 0 {
			se = same[0]
			for _, other := range same { // a fork has the path of its origin
				if other.ForkedFrom == "" {
					se = other
				}
			}
		} else if err == nil {
			se, err = d.start(r, n, nil)
		}
	}
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusCreated, d.viewOf(se))
	return nil
}

// note changes what is kept of a kernel.
func (d *Dialect) note(r *http.Request, se job.Session, n notes) (job.Session, error) {
	return d.service.ChangeSession(r.Context(), service.CallerOf(r.Context()), se.ID, job.SessionChangeRequest{Metadata: n.metadata()})
}

func (d *Dialect) getSession(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, d.viewOf(se))
	return nil
}

// changeSession renames a session. Another kernel would be another session of Kaa, with another id.
func (d *Dialect) changeSession(w http.ResponseWriter, r *http.Request) error {
	var body sessionBody
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	n := notesOf(se)
	if body.Kernel.ID != "" && body.Kernel.ID != se.ID || body.Kernel.Name != "" && body.Kernel.Name != n.Spec {
		return refuse("kernel: a session of Kaa keeps its kernel; delete the session and start another one")
	}
	for _, change := range []struct {
		to   *string
		from string
	}{{&n.Path, body.Path}, {&n.Name, body.Name}, {&n.Type, body.Type}} {
		if change.from != "" {
			*change.to = change.from
		}
	}
	if se, err = d.note(r, se, n); err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, d.viewOf(se))
	return nil
}
