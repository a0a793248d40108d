package jupyter

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// defaultSpec is the kernel of Kaa's default runtime. The other runtimes are kernels with their own names.
const defaultSpec = "python3"

// Members of the metadata of a session that is a kernel.
const (
	markMember = "jupyter.kernel" // listings select by it
	pathMember = "jupyter.path"
)

// notes are what Kaa only keeps about a kernel: in the session's metadata.
type notes struct {
	Spec string `json:"spec,omitempty"`
	// Path, Name and Type are those of the session of Jupyter; empty without one.
	Path string `json:"path,omitempty"`
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
}

func (n notes) metadata() json.RawMessage {
	members := map[string]any{"jupyter": n, markMember: "true"}
	if n.Path != "" {
		members[pathMember] = n.Path
	}
	data, err := json.Marshal(members)
	if err != nil {
		return nil // strings can be encoded
	}
	return data
}

func notesOf(se job.Session) notes {
	var members struct {
		Notes notes `json:"jupyter"`
	}
	_ = json.Unmarshal(se.Metadata, &members) // of a session that was opened otherwise
	if members.Notes.Spec == "" {
		members.Notes.Spec = defaultSpec
		if se.Runtime != "" {
			members.Notes.Spec = se.Runtime
		}
	}
	return members.Notes
}

func (d *Dialect) kernelRoutes() {
	d.handle("GET /api/kernelspecs", "listKernelSpecs", d.listSpecs)
	d.handle("GET /api/kernelspecs/{name}", "getKernelSpec", d.getSpec)
	d.handle("GET /api/kernels", "listKernels", d.listKernels)
	d.handle("POST /api/kernels", "startKernel", d.startKernel)
	d.handle("GET /api/kernels/{id}", "getKernel", d.getKernel)
	d.handle("DELETE /api/kernels/{id}", "deleteKernel", d.deleteKernel)
	d.handle("POST /api/kernels/{id}/interrupt", "interruptKernel", d.interruptKernel)
	d.handle("POST /api/kernels/{id}/restart", "restartKernel", d.restartKernel)
	d.handle("GET /api/kernels/{id}/channels", "connectKernel", d.channels)
}

// spec is a kernel that can be started.
type spec struct {
	Name      string            `json:"name"`
	Spec      specFile          `json:"spec"`
	Resources map[string]string `json:"resources"`
}

type specFile struct {
	Argv          []string          `json:"argv"`
	Env           map[string]string `json:"env"`
	DisplayName   string            `json:"display_name"`
	Language      string            `json:"language"`
	InterruptMode string            `json:"interrupt_mode"`
	Metadata      map[string]any    `json:"metadata"`
}

func specOf(name, display string) spec {
	return spec{name, specFile{[]string{}, map[string]string{}, display, "python", "signal", map[string]any{"debugger": false}}, map[string]string{}}
}

// specs are the default kernel, and one for each runtime.
func (d *Dialect) specs(ctx context.Context) (map[string]spec, error) {
	all := map[string]spec{defaultSpec: specOf(defaultSpec, "Python 3 (Kaa)")}
	runtimes, err := d.service.Runtimes(ctx, service.CallerOf(ctx))
	if err != nil {
		return nil, err
	}
	for _, rt := range runtimes {
		if rt.Name != defaultSpec {
			all[rt.Name] = specOf(rt.Name, "Python "+rt.Version+" (Kaa: "+rt.Name+")")
		}
	}
	return all, nil
}

func (d *Dialect) listSpecs(w http.ResponseWriter, r *http.Request) error {
	all, err := d.specs(r.Context())
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, map[string]any{"default": defaultSpec, "kernelspecs": all})
	return nil
}

func (d *Dialect) getSpec(w http.ResponseWriter, r *http.Request) error {
	all, err := d.specs(r.Context())
	if err != nil {
		return err
	}
	one, ok := all[r.PathValue("name")]
	if !ok {
		return dialect.NewFault(http.StatusNotFound, "kernelspec_not_found", "Kernel spec %s not found", clipped(r.PathValue("name")))
	}
	dialect.WriteJSON(w, http.StatusOK, one)
	return nil
}

// kernel is a session as Jupyter knows it.
type kernel struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	LastActivity string `json:"last_activity"`
	State        string `json:"execution_state"`
	Connections  int    `json:"connections"`
}

func (d *Dialect) kernelOf(se job.Session) kernel {
	state := "idle"
	if se.State == job.SessionBusy {
		state = "busy"
	}
	return kernel{se.ID, notesOf(se).Spec, stamp(se.LastUsed), state, d.counts.connections(se.ID)}
}

// mostKernels bounds a listing.
const mostKernels = 1000

// kernels are the live sessions of the caller that Jupyter's clients have opened.
func (d *Dialect) kernels(r *http.Request, more ...job.MetadataMatch) ([]job.Session, error) {
	filter := job.SessionFilter{Metadata: append([]job.MetadataMatch{{Name: markMember, Value: "true"}}, more...), Limit: 100}
	var all []job.Session
	for len(all) < mostKernels {
		page, next, err := d.service.Sessions(r.Context(), service.CallerOf(r.Context()), filter)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" {
			break
		}
		filter.Cursor = next
	}
	return all, nil
}

func (d *Dialect) listKernels(w http.ResponseWriter, r *http.Request) error {
	all, err := d.kernels(r)
	if err != nil {
		return err
	}
	answer := make([]kernel, len(all))
	for i, se := range all {
		answer[i] = d.kernelOf(se)
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// start opens a session for a kernel. It lives as long as Kaa lets it: Jupyter's kernels end when they are told to.
func (d *Dialect) start(r *http.Request, n notes, envs map[string]string) (job.Session, error) {
	runtime := ""
	if n.Spec == "" {
		n.Spec = defaultSpec
	}
	if n.Spec != defaultSpec {
		all, err := d.specs(r.Context())
		if err != nil {
			return job.Session{}, err
		}
		if _, ok := all[n.Spec]; !ok {
			return job.Session{}, dialect.NewFault(http.StatusNotFound, "kernelspec_not_found", "No such kernel named %s", clipped(n.Spec))
		}
		runtime = n.Spec
	}
	caller := service.CallerOf(r.Context())
	limits := d.service.LimitsOf(caller).Sessions
	idle, age := limits.MaxIdleTimeout.Seconds(), limits.MaxAge.Seconds()
	return d.service.OpenSession(r.Context(), caller, job.SessionRequest{Runtime: runtime, Envs: envs, IdleTimeout: &idle, MaxAge: &age, Metadata: n.metadata()})
}

func (d *Dialect) startKernel(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name string            `json:"name"`
		Env  map[string]string `json:"env"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	se, err := d.start(r, notes{Spec: body.Name}, body.Env)
	if err != nil {
		return err
	}
	w.Header().Set("Location", service.CallOf(r.Context()).Prefix+"/api/kernels/"+se.ID)
	dialect.WriteJSON(w, http.StatusCreated, d.kernelOf(se))
	return nil
}

// readBody reads a body that may be empty.
func readBody(r *http.Request, into any) error {
	if r.ContentLength == 0 {
		return nil
	}
	return dialect.ReadJSON(r, into)
}

func (d *Dialect) getKernel(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, d.kernelOf(se))
	return nil
}

func (d *Dialect) deleteKernel(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := d.service.CloseSession(r.Context(), service.CallerOf(r.Context()), se.ID); err != nil {
		return err
	}
	d.counts.reset(se.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Dialect) interruptKernel(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := d.service.Interrupt(r.Context(), service.CallerOf(r.Context()), se.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Dialect) restartKernel(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	if se, err = d.restart(r.Context(), se.ID); err != nil {
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, d.kernelOf(se))
	return nil
}

// restart gives a kernel a fresh interpreter. What it executes is interrupted, since a restart takes its turn.
func (d *Dialect) restart(ctx context.Context, id string) (job.Session, error) {
	caller := service.CallerOf(ctx)
	if _, err := d.service.Interrupt(ctx, caller, id); err != nil {
		return job.Session{}, err
	}
	se, err := d.service.Restart(ctx, caller, id)
	if err == nil {
		d.counts.reset(id)
	}
	return se, err
}
