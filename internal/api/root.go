package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
)

// consoleFolder begins the paths of the files of the console.
const consoleFolder = "/console"

// iconPath is where browsers look for the picture of a page that names none, such as /docs, or JSON that is opened as a page.
const iconPath = "/favicon.ico"

// icon is that of the console.
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0b7a53"/>` +
	`<path d="M22 8c-6 0-12 1-12 5s12 2 12 6-6 5-12 5" fill="none" stroke="white" stroke-width="3.4" stroke-linecap="round"/></svg>`

// serveIcon answers with the icon. It is the same for all callers, and changes with a release at most.
func serveIcon(c *gin.Context) {
	c.Header("Cache-Control", "public, max-age=86400")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Content-Security-Policy", "default-src 'none'")
	c.Data(http.StatusOK, "image/svg+xml", []byte(icon))
}

// registerRoot adds what is at /: the console for browsers, and a description with links for other clients.
func (s *server) registerRoot(engine *gin.Engine) {
	engine.GET("/", func(c *gin.Context) {
		c.Header("Vary", "Accept")
		switch {
		case !prefersHTML(c.Request):
			c.Header("Cache-Control", "no-cache")
			c.PureJSON(http.StatusOK, s.description())
		case s.cfg.Console != nil:
			s.cfg.Console.ServeHTTP(c.Writer, c.Request)
		default:
			c.Header("Location", s.link("docs"))
			c.Status(http.StatusFound)
		}
	})
	engine.GET(iconPath, serveIcon)
	if s.cfg.Console != nil {
		engine.GET(consoleFolder, gin.WrapH(s.cfg.Console))
		engine.GET(consoleFolder+"/*file", gin.WrapH(s.cfg.Console))
	}
}

// rootView describes the API to a client that knows its address only.
type rootView struct {
	Name    string            `json:"name"`
	Version string            `json:"version"`
	Links   map[string]string `json:"links"`
}

// description has links for a client that knows the root.
func (s *server) description() rootView {
	v := rootView{Name: "Kaa", Version: s.cfg.Version, Links: map[string]string{}}
	for name, path := range map[string]string{
		"docs": "docs", "openapi": "openapi.json", "execute": "process/interpreter/execute", "jobs": "v1/jobs", "sessions": "v1/sessions", "ready": "readyz",
	} {
		v.Links[name] = s.link(path)
	}
	if s.cfg.Console != nil {
		v.Links["console"] = s.link("./")
	}
	return v
}

// link returns a path of the API for a client that has found the root. Without a base path it is relative, because a proxy may have taken
// a prefix away. With one it is not: /kaa, without a slash at its end, is the root, too.
func (s *server) link(path string) string {
	if s.cfg.BasePath == "" {
		return path
	}
	return s.cfg.BasePath + "/" + strings.TrimPrefix(path, "./")
}

// prefersHTML reports whether a client asks for HTML by name, and not for JSON rather than that.
func prefersHTML(r *http.Request) bool {
	html, json := 0.0, 0.0
	for item := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, parameters, _ := strings.Cut(item, ";")
		weight := 1.0
		if _, q, ok := strings.Cut(parameters, "q="); ok {
			if given, err := strconv.ParseFloat(strings.TrimSpace(q), 64); err == nil {
				weight = given
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml":
			html = max(html, weight)
		case "application/json":
			json = max(json, weight)
		}
	}
	return html > 0 && html >= json
}
