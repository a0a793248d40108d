package e2b

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"path"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type (
	watchRequest struct {
		Path         string `json:"path" pb:"1"`
		Recursive    bool   `json:"recursive" pb:"2"`
		IncludeEntry bool   `json:"includeEntry" pb:"3"`
	}
	fileEvent struct {
		Name  string     `json:"name" pb:"1"`
		Type  eventType  `json:"type" pb:"2"`
		Entry *entryInfo `json:"entry,omitempty" pb:"3"`
	}
	watchAnswer struct {
		Start      *empty     `json:"start,omitempty" pb:"1"`
		Filesystem *fileEvent `json:"filesystem,omitempty" pb:"2"`
		KeepAlive  *empty     `json:"keepalive,omitempty" pb:"3"`
	}
	watcherRequest struct {
		ID string `json:"watcherId" pb:"1"`
	}
	eventsAnswer struct {
		Events []fileEvent `json:"events" pb:"1"`
	}
)

// eventType is the type of a change.
type eventType string

const (
	eventCreate eventType = "EVENT_TYPE_CREATE"
	eventWrite  eventType = "EVENT_TYPE_WRITE"
	eventRemove eventType = "EVENT_TYPE_REMOVE"
	eventRename eventType = "EVENT_TYPE_RENAME"
	eventChmod  eventType = "EVENT_TYPE_CHMOD"
)

func (eventType) numbers() map[string]protowire.Number {
	return map[string]protowire.Number{string(eventCreate): 1, string(eventWrite): 2, string(eventRemove): 3, string(eventRename): 4, string(eventChmod): 5}
}

func (d *Dialect) watches(options []connect.HandlerOption) {
	streaming(d, filesystemPath+"WatchDir", "watchDirectory", options, d.watchDir)
	unary(d, filesystemPath+"CreateWatcher", "createWatcher", options, d.createWatcher)
	unary(d, filesystemPath+"GetWatcherEvents", "getWatcherEvents", options, d.watcherEvents)
	unary(d, filesystemPath+"RemoveWatcher", "removeWatcher", options, d.removeWatcher)
}

// watch begins to watch a directory.
func (d *Dialect) watch(ctx context.Context, t target, r *watchRequest) (*service.FileWatch, string, error) {
	at, err := d.directory(ctx, t, r.Path)
	if err != nil {
		return nil, "", err
	}
	w, err := d.service.WatchFiles(ctx, t.caller, t.session, job.FSRequest{Path: placed(at), Recursive: r.Recursive})
	if err == nil {
		d.watched.add(t.session, 1)
	}
	return w, at, err
}

// unwatch ends a watch.
func (d *Dialect) unwatch(ctx context.Context, t target, w *service.FileWatch) {
	d.watched.add(t.session, -1)
	w.Close(ctx)
}

// translate returns an event; false if the protocol has none for it.
func (d *Dialect) translate(ctx context.Context, t target, r *watchRequest, at string, e job.Event) (fileEvent, bool) {
	kinds := map[string]eventType{
		job.FileCreated: eventCreate, job.FileWritten: eventWrite, job.FileRemoved: eventRemove, job.FileRenamed: eventRename, job.FileChmod: eventChmod,
	}
	var of job.FileEvent
	if json.Unmarshal(e.Data, &of) != nil || kinds[of.Type] == "" {
		return fileEvent{}, false
	}
	event := fileEvent{Name: of.Path, Type: kinds[of.Type]}
	if r.IncludeEntry && of.Type != job.FileRemoved && of.Type != job.FileRenamed {
		if a, err := d.fs(ctx, t, job.FSRequest{Do: job.FSStat, Path: []byte(path.Join(at, of.Path))}); err == nil {
			info := infoOf(a.Entry)
			event.Entry = &info
		}
	}
	return event, true
}

func (d *Dialect) watchDir(ctx context.Context, t target, r *watchRequest, to *connect.ServerStream[watchAnswer]) error {
	w, at, err := d.watch(ctx, t, r)
	if err != nil {
		return err
	}
	defer d.unwatch(ctx, t, w)
	if err := to.Send(&watchAnswer{Start: &empty{}}); err != nil {
		return err
	}
	quiet := keepAlive(to.Conn().RequestHeader())
	for {
		e, err := w.Next(ctx, quiet)
		switch {
		case errors.Is(err, service.ErrQuiet):
			err = to.Send(&watchAnswer{KeepAlive: &empty{}})
		case errors.Is(err, service.ErrOver):
			return nil
		case err != nil && ctx.Err() == nil:
			return errBroken
		case err != nil:
			return err
		default:
			if event, ok := d.translate(ctx, t, r, at, e); ok {
				err = to.Send(&watchAnswer{Filesystem: &event})
			}
		}
		if err != nil {
			return err
		}
	}
}

const (
	// mostWatchers is how many watchers this process has, and mostOfCaller how many of them a tenant may have.
	mostWatchers = 1000
	mostOfCaller = 100
	// mostWatched is how many events wait for one client, and mostWatchedBytes how much room they take. Later ones are lost.
	mostWatched      = 10000
	mostWatchedBytes = 1 << 20
	// watcherLife is how long a watcher is kept that no client asks for.
	watcherLife = 10 * time.Minute
	// settle is how long a client waits for events that are under way, and quietFor how long none may come before that.
	settle   = 500 * time.Millisecond
	quietFor = 50 * time.Millisecond
)

// watcher collects events for a client that asks for them. It lives in the process that has made it.
type watcher struct {
	of   target
	stop context.CancelFunc
	idle *time.Timer

	mu     sync.Mutex
	events []fileEvent
	bytes  int       // of the events
	last   time.Time // of the last event
}

type watchers struct {
	mu  sync.Mutex
	all map[string]*watcher
}

// take adds a watcher, and reports whether there was room for it.
func (w *watchers) take(id string, one *watcher, forget func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := 0
	for _, other := range w.all {
		if other.of.caller.ID() == one.of.caller.ID() {
			own++
		}
	}
	if len(w.all) >= mostWatchers || own >= mostOfCaller {
		return false
	}
	if w.all == nil {
		w.all = map[string]*watcher{}
	}
	w.all[id] = one
	one.idle = time.AfterFunc(watcherLife, forget)
	return true
}

func (d *Dialect) createWatcher(ctx context.Context, t target, r *watchRequest) (*watcherRequest, error) {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	w, at, err := d.watch(watching, t, r)
	if err != nil {
		stop()
		return nil, err
	}
	one, id := &watcher{of: t, stop: stop}, rand.Text()
	if !d.watching.take(id, one, func() { d.forget(id) }) {
		d.unwatch(watching, t, w)
		stop()
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("too many watchers; remove one"))
	}
	go func() {
		defer d.unwatch(context.WithoutCancel(watching), t, w)
		for {
			e, err := w.Next(watching, watcherLife)
			if errors.Is(err, service.ErrQuiet) {
				continue
			}
			if err != nil {
				d.forget(id)
				return
			}
			if event, ok := d.translate(watching, t, r, at, e); ok {
				one.add(event)
			}
		}
	}()
	return &watcherRequest{id}, nil
}

func (w *watcher) add(e fileEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = time.Now()
	const besides = 64 // of an event beside its texts
	size := besides + len(e.Name)
	if e.Entry != nil {
		size += besides + len(e.Entry.Path) + e.Entry.texts()
	}
	if len(w.events) < mostWatched && w.bytes+size <= mostWatchedBytes {
		w.events, w.bytes = append(w.events, e), w.bytes+size
	}
}

// forget ends a watcher.
func (d *Dialect) forget(id string) {
	d.watching.mu.Lock()
	defer d.watching.mu.Unlock()
	if w := d.watching.all[id]; w != nil {
		delete(d.watching.all, id)
		w.idle.Stop()
		w.stop()
	}
}

// watcherOf returns a watcher of a sandbox.
func (d *Dialect) watcherOf(t target, id string) (*watcher, error) {
	d.watching.mu.Lock()
	defer d.watching.mu.Unlock()
	w := d.watching.all[id]
	if w == nil || w.of.session != t.session || w.of.caller.ID() != t.caller.ID() {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("watcher not found: "+clipped(id)))
	}
	w.idle.Reset(watcherLife)
	return w, nil
}

// watcherEvents returns the events since the last call. What a call before this one has changed is on its way, so it waits a moment.
func (d *Dialect) watcherEvents(ctx context.Context, t target, r *watcherRequest) (*eventsAnswer, error) {
	w, err := d.watcherOf(t, r.ID)
	if err != nil {
		return nil, err
	}
	look := time.NewTicker(quietFor / 2)
	defer look.Stop()
	for over := time.Now().Add(settle); time.Now().Before(over); {
		w.mu.Lock()
		settled := len(w.events) > 0 && time.Since(w.last) > quietFor
		w.mu.Unlock()
		if settled {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	answer := &eventsAnswer{Events: w.events}
	if answer.Events == nil {
		answer.Events = []fileEvent{}
	}
	w.events, w.bytes = nil, 0
	return answer, nil
}

func (d *Dialect) removeWatcher(_ context.Context, t target, r *watcherRequest) (*empty, error) {
	if _, err := d.watcherOf(t, r.ID); err != nil {
		return nil, err
	}
	d.forget(r.ID)
	return &empty{}, nil
}
