package daytona

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/sandboxport"
)

func (d *Dialect) systemRoutes() {
	d.handle("POST "+box+"/env", "setEnv", d.setEnv)
	d.handle("GET "+box+"/system/metrics", "getSystemMetrics", d.metrics)
	d.handle("GET "+box+"/port", "listPorts", d.listPorts)
	d.handle("GET "+box+"/port/{port}/in-use", "listPorts", d.portInUse)
}

// setEnv sets variables of all that the sandbox executes from then on. Those of its creation are of its processes, and stay.
func (d *Dialect) setEnv(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Set    map[string]string `json:"set"`
		Unset  []string          `json:"unset"`
		Prefix string            `json:"unsetValuePrefix"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	s := settingsOf(se)
	later := map[string]string{}
	for name, value := range s.Set {
		if !slices.Contains(body.Unset, name) && (body.Prefix == "" || !strings.HasPrefix(value, body.Prefix)) {
			later[name] = value
		}
	}
	for _, name := range body.Unset {
		if _, ok := s.Env[name]; ok {
			return badRequest("unset: %s was set when the sandbox was created, so it cannot be unset; set it to another value", clipped(name))
		}
	}
	s.Set = merged(later, body.Set)
	for name, value := range s.Set {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return badRequest("set: the names of variables have neither = nor zero bytes, and are not empty; their values have no zero bytes")
		}
	}
	if _, err := d.save(r.Context(), se, s); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"message": "environment updated"})
}

// metrics answers with the limits of a sandbox. Kaa measures usage by execution, and not by time.
func (d *Dialect) metrics(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	box, now := d.view(r, se), time.Now().UTC()
	return answerJSON(w, http.StatusOK, map[string]any{
		"cpuCount": box.CPU, "cpuUsedPct": 0, "memTotal": box.Memory * gibibyte, "memUsed": 0, "memCache": 0,
		"diskTotal": box.Disk * gibibyte, "diskUsed": 0, "diskFree": box.Disk * gibibyte, "timestamp": now, "timestampUnix": now.Unix(),
	})
}

// portOf reads the port in the path of a request.
func portOf(r *http.Request) (int, error) {
	n, err := sandboxport.Number(r.PathValue("port"))
	if err != nil {
		return 0, badRequest("port: %s", err)
	}
	return n, nil
}

func (d *Dialect) listPorts(w http.ResponseWriter, r *http.Request) error {
	ports, err := d.ports(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string][]int{"ports": ports})
}

func (d *Dialect) portInUse(w http.ResponseWriter, r *http.Request) error {
	port, err := portOf(r)
	if err != nil {
		return err
	}
	ports, err := d.ports(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]bool{"isInUse": slices.Contains(ports, port)})
}

// ports are those on which something in the sandbox of a request listens, by the tables of its kernel's network.
func (d *Dialect) ports(r *http.Request) ([]int, error) {
	se, err := d.live(r)
	if err != nil {
		return nil, err
	}
	how, err := d.program(r.Context(), se, programRequest{line: "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"})
	if err != nil {
		return nil, err
	}
	return listening(how.stdout), nil
}

// listening reads Linux's tables of TCP: the local address is in the second column, the state in the fourth.
func listening(tables string) []int {
	ports := []int{}
	for line := range strings.Lines(tables) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "0A" {
			continue
		}
		_, text, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseInt(text, 16, 32); err == nil && !slices.Contains(ports, int(n)) {
			ports = append(ports, int(n))
		}
	}
	slices.Sort(ports)
	return ports
}
