package e2b

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// A snapshot is a fork of a sandbox in which nothing is executed. A sandbox that is made of it is a fork of that one.

// snapshotMark is the member of the metadata of the session of a snapshot that lists find it by, refMember the one with its name
// and tag, and originMember the one with the sandbox that it is of.
const (
	snapshotMark = ownPrefix + "snapshot"
	refMember    = ownPrefix + "ref"
	originMember = ownPrefix + "of"
	marked       = "yes"
)

const (
	// namespace begins the full names of snapshots.
	namespace = "kaa/"
	// usualTag is the tag of a snapshot that was given none.
	usualTag = "default"
	// longestName is the length of a snapshot's name with its tag.
	longestName = 128
)

type snapshotBody struct {
	Name string `json:"name"`
	// Memory is false for files alone.
	Memory *bool `json:"memory"`
}

type snapshotInfo struct {
	ID    string   `json:"snapshotID"`
	Names []string `json:"names"`
}

// isSnapshot reports whether a session is one.
func isSnapshot(se job.Session) bool { return textIn(se, snapshotMark) == marked }

// textIn returns a member of the metadata that is a text; empty if it is none.
func textIn(se job.Session, member string) (text string) {
	_ = json.Unmarshal(membersOf(se)[member], &text)
	return text
}

// refOf is the name of a snapshot with its tag, without the namespace.
func refOf(name string) string {
	name = strings.TrimPrefix(name, namespace)
	if !strings.Contains(name, ":") {
		name += ":" + usualTag
	}
	return name
}

// isName reports whether a text can be the name of a snapshot.
func isName(name string) bool {
	name = strings.TrimPrefix(name, namespace)
	return name != "" && len(name) <= longestName && strings.Count(name, ":") <= 1 && strings.IndexFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-:", c)
	}) < 0
}

func infoOfSnapshot(se job.Session) snapshotInfo {
	if ref := textIn(se, refMember); ref != "" {
		return snapshotInfo{namespace + ref, []string{namespace + ref}}
	}
	return snapshotInfo{sandboxID(se.ID) + ":" + usualTag, []string{}}
}

// snapshot makes one of a sandbox.
func (d *Dialect) snapshot(w http.ResponseWriter, r *http.Request) error {
	var body snapshotBody
	if err := decode(r, &body); err != nil {
		return err
	}
	switch {
	case body.Name != "" && !isName(body.Name):
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "the name of a snapshot has up to %d letters, digits and any of . _ - and a tag after a colon", longestName)
	case body.Memory != nil && !*body.Memory:
		return dialect.NewFault(http.StatusBadRequest, "snapshot_filesystem_only_disabled", "Kaa makes snapshots of files and memory together")
	}
	se, err := d.sandboxIn(r)
	if err != nil {
		return err
	}
	caller := service.CallerOf(r.Context())
	members := map[string]string{snapshotMark: marked, originMember: sandboxID(se.ID)}
	var before []job.Session
	if body.Name != "" {
		members[refMember] = refOf(body.Name)
		if before, err = d.snapshots(r.Context(), caller, job.MetadataMatch{Name: refMember, Value: refOf(body.Name)}); err != nil {
			return err
		}
	}
	made, err := d.copied(r.Context(), caller, se, nil, details{Template: detailsOf(se).Template, Envs: detailsOf(se).Envs}, members)
	if err != nil {
		return err
	}
	for _, one := range before { // the name is that of the new one now
		if _, err := d.service.CloseSession(r.Context(), caller, one.ID); err != nil && !isGone(err) {
			return err
		}
	}
	dialect.WriteJSON(w, http.StatusCreated, infoOfSnapshot(made))
	return nil
}

// copied makes a fork of a session, with metadata of its own. change has what else is to be changed in it; nil for a snapshot, which has no end.
func (d *Dialect) copied(ctx context.Context, c service.Caller, se job.Session, change *job.SessionChangeRequest, of details, members map[string]string) (job.Session, error) {
	forks, err := d.service.Fork(ctx, c, se.ID, 1)
	if err != nil {
		return job.Session{}, err
	}
	limits := d.service.Limits().Sessions
	age, idle := limits.MaxAge.Seconds(), limits.MaxIdleTimeout.Seconds()
	if change == nil {
		change = &job.SessionChangeRequest{NoEnd: true, OnEnd: job.OnEndEnd}
	}
	change.MaxAge, change.IdleTimeout, change.Metadata = &age, &idle, encodedWith(members, of)
	made, err := d.service.ChangeSession(ctx, c, forks[0].ID, *change)
	if err != nil {
		_, _ = d.service.CloseSession(context.WithoutCancel(ctx), c, forks[0].ID) // its first error is the answer
	}
	return made, err
}

// snapshots returns the snapshots of a caller that fit, the newest first.
func (d *Dialect) snapshots(ctx context.Context, c service.Caller, matches ...job.MetadataMatch) ([]job.Session, error) {
	filter := job.SessionFilter{Metadata: append(matches, job.MetadataMatch{Name: snapshotMark, Value: marked}), Limit: usualPage}
	return d.sessions(ctx, c, filter, isSnapshot)
}

// snapshotNamed returns the session of a snapshot by its id or name; false if the caller has none of it.
func (d *Dialect) snapshotNamed(ctx context.Context, c service.Caller, name string) (job.Session, bool, error) {
	id, tag, _ := strings.Cut(name, ":")
	if session, ok := sessionOf(id); ok && (tag == "" || tag == usualTag) {
		se, err := d.service.Session(ctx, c, session)
		if isGone(err) || err == nil && (se.State == job.SessionEnded || !isSnapshot(se)) {
			return se, false, nil
		}
		return se, err == nil, err
	}
	if !isName(name) {
		return job.Session{}, false, nil
	}
	all, err := d.snapshots(ctx, c, job.MetadataMatch{Name: refMember, Value: refOf(name)})
	if err != nil || len(all) == 0 {
		return job.Session{}, false, err
	}
	return all[0], true, nil
}

// listSnapshots answers with the snapshots of the caller, or of one sandbox.
func (d *Dialect) listSnapshots(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	l, err := listingOf(q)
	if err != nil {
		return err
	}
	var matches []job.MetadataMatch
	if of := q.Get("sandboxID"); of != "" {
		id, _, _ := strings.Cut(of, "-")
		matches = append(matches, job.MetadataMatch{Name: originMember, Value: id})
	}
	if name := q.Get("name"); name != "" {
		matches = append(matches, job.MetadataMatch{Name: refMember, Value: refOf(name)})
	}
	all, err := d.snapshots(r.Context(), service.CallerOf(r.Context()), matches...)
	if err != nil {
		return err
	}
	page, next := l.page(all)
	answer := make([]snapshotInfo, len(page))
	for i, se := range page {
		answer[i] = infoOfSnapshot(se)
	}
	if next != "" {
		w.Header().Set("X-Next-Token", next)
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// deleteSnapshot deletes one. Sandboxes that were made of it stay.
func (d *Dialect) deleteSnapshot(w http.ResponseWriter, r *http.Request) error {
	caller, name := service.CallerOf(r.Context()), r.PathValue("id")
	se, ok, err := d.snapshotNamed(r.Context(), caller, name)
	if err == nil && !ok {
		err = dialect.NewFault(http.StatusNotFound, "no_template", "template '%s' not found", clipped(name))
	}
	if err == nil {
		_, err = d.service.CloseSession(r.Context(), caller, se.ID)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
