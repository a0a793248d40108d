package app

import (
	"net/http"
	"slices"

	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/sandboxport"
)

// withPorts are the hosts to which requests may be addressed, with those of ports.
func withPorts(hosts []string, ports sandboxport.Hosts) []string {
	if ports.None() {
		return hosts
	}
	return append(slices.Clip(hosts), ports.Pattern())
}

// withPortHosts leads requests for host names of ports to these, and all others to next. None of the API's own paths are at these names.
func withPortHosts(entrance *door.Door, own *api.API, ports sandboxport.Hosts, next http.Handler) http.Handler {
	if ports.None() {
		return next
	}
	dialect := own.Ports()
	handler := entrance.HandleAt(door.Mount{Name: "ports"}, dialect)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dialect.Owns(r) {
			handler.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
